/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The status document as text for Prometheus. Every metric of protocol/metrics.c is there, in base units, by the name
 * that it has in the document: pagefuse_daemon_…, pagefuse_host_…, pagefuse_domain_…, pagefuse_vm_…; see
 * pagefuse-exporter(8).
 */
#ifndef PAGEFUSE_CLI_OPENMETRICS_H
#define PAGEFUSE_CLI_OPENMETRICS_H

#include <jansson.h>
#include <stdio.h>

enum openmetrics_format {
	OPENMETRICS_CLASSIC, /* Prometheus's own, version 0.0.4: what node_exporter reads in files, too */
	OPENMETRICS_1,       /* OpenMetrics 1.0 */
};

/** What is said of @format in a Content-Type header. */
const char *openmetrics_content_type(enum openmetrics_format format);

/** Writes @status, or that the daemon does not answer if that is NULL. Errors of @out are the caller's to see. */
void openmetrics_write(FILE *out, enum openmetrics_format format, const json_t *status);

#endif
