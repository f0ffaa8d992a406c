/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Figures for people. Pure functions; each returns its buffer. */
#ifndef PAGEFUSE_CLI_FORMAT_H
#define PAGEFUSE_CLI_FORMAT_H

#include <stddef.h>
#include <stdint.h>

struct format_buffer {
	char text[32];
};

/** Three significant digits and a binary unit: "0", "512M", "1.25G", "-4K". */
const char *format_bytes(struct format_buffer *buffer, int64_t bytes);
/** The same for who may not know the units: "0 B", "512 MiB", "1.25 GiB". */
const char *format_size(struct format_buffer *buffer, int64_t bytes);
const char *format_pages(struct format_buffer *buffer, int64_t pages);
/** "45s", "3m20s", "5h02m", "12d03h". */
const char *format_seconds(struct format_buffer *buffer, uint64_t seconds);
/** "0us", "850us", "12.3ms", "1.40s". */
const char *format_usec(struct format_buffer *buffer, uint64_t usec);

/**
 * @text for a terminal: bytes that are no printable ASCII as \xNN, as the tables have it, and a backslash before an x
 * so that it cannot be taken for that. What has no room is left out. @return @buffer.
 */
const char *format_plain(char *buffer, size_t size, const char *text);

/** Whole mebibytes, rounded; what esxtop calls MB. */
int64_t pages_to_mb(int64_t pages);
int64_t bytes_to_mb(int64_t bytes);

#endif
