/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. Reads are the VMM's fast path. So the image of a descriptor is looked up once, by the first
 * thread that reads from it, and kept in a byte per number until the preload sees the descriptor closed, replaced or
 * opened. Calls on descriptors that the preload does not see leave a wrong name at worst.
 *
 * An image is identified by its path, as the kernel reports it: so it stays the same image when it is opened again, by
 * another descriptor, or after another file has been moved into its place. Images are only added. Two threads that add
 * the same image at once may give it two numbers with the same name.
 */
#include "library/images.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "library/session.h"
#include "library/sys.h"
#include "library/visits.h"

#define DESCRIPTORS 4096u /* descriptors from this number on are not looked at */
#define NOT_LOOKED_AT 0u  /* else 1 more than the number of the image */

enum image_state {
	IMAGE_FREE,
	IMAGE_BEING_NAMED,
	IMAGE_NAMED
};

struct image {
	_Atomic uint8_t state; /* enum image_state; only grows */
	bool told;             /* worker */
	char label[LABEL_MAX + 1];
};

static _Atomic uint8_t looked_at[DESCRIPTORS];
static struct image images[RING_IMAGES_MAX];
static atomic_bool untold;

/* ---- VMM threads ---- */

/** @return the number of the image of that name, which is added if needed; 0: there are too many. */
static uint8_t number_of(const char *label)
{
	for (unsigned i = 0; i < RING_IMAGES_MAX; i++) {
		struct image *image = &images[i];
		uint8_t state = atomic_load_explicit(&image->state, memory_order_acquire); /* pairs with the store */

		if (state == IMAGE_FREE && atomic_compare_exchange_strong(&image->state, &state, IMAGE_BEING_NAMED)) {
			memcpy(image->label, label, strlen(label) + 1);
			atomic_store_explicit(&image->state, IMAGE_NAMED, memory_order_release);
			atomic_store(&untold, true);
			return (uint8_t)(i + 1);
		}
		if (state == IMAGE_NAMED && strcmp(image->label, label) == 0)
			return (uint8_t)(i + 1);
	}
	return 0;
}

static void path_of_descriptor(unsigned fd, char ret[48])
{
	static const char folder[] = "/proc/thread-self/fd/";
	char digits[12];
	unsigned count = 0;
	char *end = ret + sizeof(folder) - 1;

	memcpy(ret, folder, sizeof(folder));
	do
		digits[count++] = (char)('0' + fd % 10);
	while ((fd /= 10) > 0);
	while (count > 0)
		*end++ = digits[--count];
	*end = 0;
}

/** Not inlined, as it needs room for a path on the stack. */
static __attribute__((noinline)) uint8_t look_at(unsigned fd)
{
	char path[48], target[PATH_MAX], label[LABEL_MAX + 1];
	struct stat st = { 0 };
	long length;

	if (sys_raw(SYS_fstat, (long)fd, (long)&st, 0, 0, 0, 0) != 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return 0;
	path_of_descriptor(fd, path);
	length = sys_raw(SYS_readlinkat, AT_FDCWD, (long)path, (long)target, sizeof(target) - 1, 0, 0);
	if (length <= 0)
		return 0;
	target[length] = 0;
	label_from(target, label);
	return number_of(label);
}

uint8_t images_of(int fd)
{
	_Atomic uint8_t *place = &looked_at[fd >= 0 ? (unsigned)fd % DESCRIPTORS : 0];
	uint8_t value;

	if (fd < 0 || (unsigned)fd >= DESCRIPTORS)
		return 0;
	value = atomic_load_explicit(place, memory_order_relaxed);
	if (value == NOT_LOOKED_AT && visit_begin()) {
		value = look_at((unsigned)fd) + 1;
		atomic_store_explicit(place, value, memory_order_relaxed);
		visit_end();
	}
	return value == NOT_LOOKED_AT ? 0 : value - 1;
}

void images_forget(unsigned first, unsigned last)
{
	for (unsigned fd = first; fd <= last && fd < DESCRIPTORS; fd++)
		if (atomic_load_explicit(&looked_at[fd], memory_order_relaxed) != NOT_LOOKED_AT)
			atomic_store_explicit(&looked_at[fd], NOT_LOOKED_AT, memory_order_relaxed);
}

/* ---- the worker ---- */

void images_tell_anew(void)
{
	for (unsigned i = 0; i < RING_IMAGES_MAX; i++)
		images[i].told = false;
	atomic_store(&untold, true);
}

static int tell(struct session *session, unsigned index)
{
	struct wire_image message = { .image = index + 1 };
	struct image *image = &images[index];
	int r;

	if (image->told || atomic_load_explicit(&image->state, memory_order_acquire) != IMAGE_NAMED)
		return 0;
	memcpy(message.label, image->label, sizeof(message.label));
	wire_header_init(&message.header, WIRE_IMAGE, sizeof(message));
	r = session_send(session, &message, sizeof(message));
	image->told = r == 0;
	return r;
}

int images_tell(struct session *session)
{
	int r = 0;

	if (!session_has(session, WIRE_FEATURE_IMAGES) || !atomic_load(&untold) || !atomic_exchange(&untold, false))
		return 0;
	for (unsigned i = 0; i < RING_IMAGES_MAX && r == 0; i++)
		r = tell(session, i);
	if (r == -EAGAIN) {
		atomic_store(&untold, true); /* the daemon is not reading now: try again later */
		r = 0;
	}
	return r;
}
