/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands that a person is told to give: whoever starts a VM names it, and the name goes into somebody's shell. */
#ifndef PAGEFUSE_CLI_SHELL_COMMAND_H
#define PAGEFUSE_CLI_SHELL_COMMAND_H

/**
 * `pagefuse @verb` for the VM @name, with @options, which may be empty: the name is one word for a shell, and no
 * option. @return NULL without memory; the caller frees it.
 */
char *shell_command(const char *verb, const char *name, const char *options);

#endif
