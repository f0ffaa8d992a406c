/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who a VM is, by the command line of its VMM. */
#ifndef PAGEFUSE_COMMON_VM_IDENTITY_H
#define PAGEFUSE_COMMON_VM_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define UUID_BYTES 16
#define UUID_TEXT 37 /* bytes of "6ba7b810-9dad-11d1-80b4-00c04fd430c8", terminating zero included */

/** What is behind the last slash of @path; a part of it. */
const char *vm_identity_program(const char *path);

/**
 * The VM's name: the guest's in QEMU's -name option, else the command's base name and its process's @pid. libvirt's
 * domains may be called otherwise than a VM can be: blanks and what is not printable ASCII become '_', and what does
 * not fit @size, at least 16, is cut off. @argv: of the process, NULL at the end. Allocates nothing; any thread.
 */
void vm_identity_name(char *const argv[], pid_t pid, char *ret, size_t size);

/** The VM's UUID in QEMU's -uuid option. @return whether there is one; else @ret is all zero. */
bool vm_identity_uuid(char *const argv[], uint8_t ret[UUID_BYTES]);

/** @return 0, or -EINVAL if @text is no UUID of 32 digits in five groups, or the one that is all zero. */
int uuid_parse(const char *text, uint8_t ret[UUID_BYTES]);
void uuid_text(const uint8_t uuid[UUID_BYTES], char ret[UUID_TEXT]);
/** Whether it is one at all: all zero stands for none. */
bool uuid_is_set(const uint8_t uuid[UUID_BYTES]);

#endif
