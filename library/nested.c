/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "library/nested.h"

#include <stdatomic.h>
#include <stdio.h>

#include "library/options.h"
#include "library/proc.h"

#define ROOT_BYTES 64

const char *nested_root = "";

static atomic_bool vcpu_seen, vcpu_capable;

void nested_note_vcpu(bool capable)
{
	if (capable)
		atomic_store(&vcpu_capable, true);
	atomic_store(&vcpu_seen, true); /* after the above: readers read this one first */
}

static long read_below_root(const char *path, char *text, size_t size)
{
	char full[ROOT_BYTES + 64];

	snprintf(full, sizeof(full), "%.*s%s", ROOT_BYTES - 1, nested_root, path);
	return proc_read(full, text, size);
}

/** Kernels known to be broken, as this cannot be tested by trying. */
static bool kernel_is_old(void)
{
	unsigned major = 0, minor = 0;
	char release[65];

	if (read_below_root("/proc/sys/kernel/osrelease", release, sizeof(release)) <= 0 ||
	    sscanf(release, "%5u.%5u", &major, &minor) != 2)
		return true;
	return major < 6 || (major == 6 && minor < 13);
}

/** Both modules have their parameters there even if they are built in. If none can be read, nesting may be on. */
static bool is_enabled(void)
{
	static const char *const parameters[] = {
		"/sys/module/kvm_intel/parameters/nested",
		"/sys/module/kvm_amd/parameters/nested",
	};
	bool known = false, on = false;
	char text[8];

	for (unsigned i = 0; i < sizeof(parameters) / sizeof(*parameters); i++) {
		if (read_below_root(parameters[i], text, sizeof(text)) <= 0)
			continue;
		known = true;
		on = on || text[0] == 'Y' || text[0] == '1';
	}
	return on || !known;
}

bool nested_is_unsafe(void)
{
#if defined(__x86_64__)
	if (options.never_nested || (atomic_load(&vcpu_seen) && !atomic_load(&vcpu_capable)))
		return false;
	return kernel_is_old() && is_enabled();
#else
	return false; /* on other architectures nested virtualization came later */
#endif
}
