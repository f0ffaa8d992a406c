/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Validation and names of the messages in wire.h. */
#include "protocol/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/page.h"
#include "protocol/ring.h"

/* Fields of whatever release, which are of 4 or 8 bytes. */
static bool is_greeting(size_t size, size_t least)
{
	return size >= least && size <= WIRE_GREETING_MAX && size % 8 == 0;
}

static int check_length(enum wire_type type, size_t size)
{
	static const size_t exact[WIRE_TYPE_END] = {
		[WIRE_SEGMENT] = sizeof(struct wire_segment),
		[WIRE_SEGMENT_CLOSE] = sizeof(struct wire_segment),
		[WIRE_REFUSED] = sizeof(struct wire_refused),
		[WIRE_DOORBELL] = sizeof(struct wire_header),
		[WIRE_SEGMENT_WANTED] = sizeof(struct wire_wanted),
		[WIRE_IMAGE] = sizeof(struct wire_image),
	};

	switch (type) {
	case WIRE_HELLO:
		return is_greeting(size, WIRE_HELLO_LEAST) ? 0 : -EPROTO;
	case WIRE_WELCOME:
		return is_greeting(size, WIRE_WELCOME_LEAST) ? 0 : -EPROTO;
	case WIRE_MEMORY_MAP:
		return (size - sizeof(struct wire_memory_map)) % sizeof(struct wire_range) == 0 ? 0 : -EPROTO;
	default:
		break;
	}
	if (exact[type] == 0) /* texts: ERROR, REQUEST, REPLY */
		return 0;
	return size == exact[type] ? 0 : -EPROTO;
}

bool wire_name_is_valid(const char *name)
{
	for (const char *c = name; *c != 0; c++)
		if (*c < 0x21 || *c > 0x7e)
			return false;
	return name[0] != 0 && strlen(name) < WIRE_NAME_MAX;
}

bool wire_domain_is_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t length = strspn(name, allowed);

	return name[0] != '.' && length > 0 && length < WIRE_DOMAIN_MAX && name[length] == 0;
}

static int check_hello(const void *message)
{
	struct wire_hello hello;
	const char *end;

	wire_take_hello(message, &hello);
	if (hello.page_bytes != PAGE_BYTES || hello.mode == 0)
		return -EPROTO;
	end = memchr(hello.name, 0, sizeof(hello.name));
	if (end == NULL || !wire_name_is_valid(hello.name))
		return -EPROTO;
	end = memchr(hello.domain, 0, sizeof(hello.domain));
	return end && (end == hello.domain || wire_domain_is_valid(hello.domain)) ? 0 : -EPROTO;
}

static int check_map(const struct wire_memory_map *map)
{
	size_t count = (map->header.length - sizeof(*map)) / sizeof(*map->ranges);
	uint64_t end = 0;

	for (size_t i = 0; i < count; i++) {
		const struct wire_range *range = &map->ranges[i];

		if (range->page == 0 || range->pages == 0 || range->pages > UINT32_MAX - range->page)
			return -EPROTO;
		if (range->gfn < end || range->gfn >= WIRE_GFN_END || range->pages > WIRE_GFN_END - range->gfn)
			return -EPROTO;
		end = range->gfn + range->pages;
	}
	return 0;
}

static int check_image(const struct wire_image *image)
{
	const char *end = memchr(image->label, 0, sizeof(image->label));

	if (image->image == 0 || image->image > RING_IMAGES_MAX || end == NULL)
		return -EPROTO;
	return label_is_valid(image->label, (size_t)(end - image->label)) ? 0 : -EPROTO;
}

static int check_body(enum wire_type type, const void *message)
{
	const struct wire_segment *segment = message;
	const struct wire_refused *refused = message;

	switch (type) {
	case WIRE_HELLO:
		return check_hello(message);
	case WIRE_SEGMENT:
	case WIRE_SEGMENT_CLOSE:
		return segment->slots != 0 && segment->slots <= WIRE_SEGMENT_SLOTS_MAX ? 0 : -EPROTO;
	case WIRE_REFUSED:
		return refused->reason != 0 ? 0 : -EPROTO;
	case WIRE_MEMORY_MAP:
		return check_map(message);
	case WIRE_IMAGE:
		return check_image(message);
	default:
		return 0;
	}
}

int wire_check(const void *message, size_t size)
{
	struct wire_header header;
	int r;

	if (size < sizeof(header) || size > WIRE_MESSAGE_MAX)
		return -EPROTO;
	memcpy(&header, message, sizeof(header));
	if (header.magic != WIRE_MAGIC)
		return -EPROTO;
	if (header.version != WIRE_VERSION)
		return -EPROTONOSUPPORT;
	if (header.length != size || header.type == 0 || header.type >= WIRE_TYPE_END)
		return -EPROTO;
	if ((header.flags & ~(header.type == WIRE_MEMORY_MAP ? WIRE_MORE | WIRE_FIRST : WIRE_MORE)) != 0)
		return -EPROTO;
	r = check_length(header.type, size);
	if (r < 0)
		return r;
	return check_body(header.type, message);
}

static void take_greeting(const void *message, void *ret, size_t size)
{
	size_t length = ((const struct wire_header *)message)->length;

	memset(ret, 0, size);
	memcpy(ret, message, length < size ? length : size);
}

void wire_take_hello(const void *message, struct wire_hello *ret)
{
	take_greeting(message, ret, sizeof(*ret));
}

void wire_take_welcome(const void *message, struct wire_welcome *ret)
{
	take_greeting(message, ret, sizeof(*ret));
}

static const char *const feature_names[WIRE_FEATURE_END] = {
	[WIRE_FEATURE_MEMORY_MAP] = "memory-map",
	[WIRE_FEATURE_DOMAINS] = "domains",
	[WIRE_FEATURE_NOTES] = "notes",
	[WIRE_FEATURE_BLOCKS] = "blocks",
	[WIRE_FEATURE_IMAGES] = "images",
	[WIRE_FEATURE_WHOLE] = "whole",
	[WIRE_FEATURE_SAMPLES] = "samples",
};

void wire_feature_name(uint64_t features, char *ret, size_t size)
{
	unsigned bit = features != 0 ? (unsigned)__builtin_ctzll(features) : 64;

	if (bit < WIRE_FEATURE_END && feature_names[bit])
		snprintf(ret, size, "%s", feature_names[bit]);
	else
		snprintf(ret, size, "%u", bit);
}

void wire_header_init(struct wire_header *header, enum wire_type type, size_t length)
{
	*header = (struct wire_header){
		.magic = WIRE_MAGIC,
		.version = WIRE_VERSION,
		.type = (uint16_t)type,
		.length = (uint32_t)length,
	};
}

static const struct {
	const char *name, *text;
} reasons[WIRE_REASON_END] = {
	[WIRE_REASON_SHARED_MAPPING] = { "shared-mapping", "mapped MAP_SHARED" },
	[WIRE_REASON_FILE_BACKED] = { "file-backed", "backed by a file or memfd" },
	[WIRE_REASON_HUGETLB] = { "hugetlb", "backed by hugetlb pages" },
	[WIRE_REASON_LOCKED] = { "locked", "locked by mlock or mlockall" },
	[WIRE_REASON_VMM_USERFAULTFD] = { "vmm-userfaultfd", "under the VMM's own userfaultfd (postcopy or snapshot)" },
	[WIRE_REASON_DEVICE_DMA] = { "device-dma", "mapped for a device by VFIO or iommufd" },
	[WIRE_REASON_PLAIN_REFERENCES] = { "plain-references", "reachable by I/O that a hold cannot see" },
	[WIRE_REASON_NO_USERFAULTFD] = { "no-userfaultfd", "without a userfaultfd that can move pages" },
	[WIRE_REASON_NO_PAGEMAP] = { "no-pagemap", "without a /proc/self/pagemap that can be scanned" },
	[WIRE_REASON_NO_SWAP] = { "no-swap", "written since: a device may be at it, and no swap is there to tell" },
	[WIRE_REASON_TOO_MANY_REGIONS] = { "too-many-regions", "beyond the number of regions that are tracked" },
	[WIRE_REASON_RAM_LIMIT] = { "ram-limit", "beyond the RAM that pagefused takes in" },
	[WIRE_REASON_NESTED] = { "nested", "of a guest that could run guests itself, on a kernel before 6.13" },
	[WIRE_REASON_ATTRIBUTE] = { "attribute", "marked in a way that a mapping of the store could not keep" },
	[WIRE_REASON_MEM_MERGE] = { "mem-merge", "no longer offered: withdrawn by the VMM (MADV_UNMERGEABLE)" },
	[WIRE_REASON_PROTECTED] = { "protected", "protected by mprotect against reading or writing" },
	[WIRE_REASON_EARLIER_STORE] = { "earlier-store", "shared with the store of an earlier pagefused that is gone" },
	[WIRE_REASON_UNSEEN_CALLS] = { "unseen-calls", "discarded by the VMM with calls that pagefuse does not see" },
	[WIRE_REASON_SECCOMP] = { "seccomp", "of a VMM whose system call filter does not let the library work" },
	[WIRE_REASON_QUOTA] = { "quota", "beyond what its user may have shared, or what its process is seen to have" },
};

const char *wire_reason_text(uint32_t reason)
{
	return reason < WIRE_REASON_END && reasons[reason].text ? reasons[reason].text
								: "left alone for an unknown reason";
}

const char *wire_reason_name(uint32_t reason)
{
	return reason < WIRE_REASON_END && reasons[reason].name ? reasons[reason].name : "unknown";
}

static const char *const mode_names[WIRE_MODE_END] = {
	[WIRE_MODE_ZERO] = "zero",
	[WIRE_MODE_FULL] = "full",
	[WIRE_MODE_HINTS] = "hints",
	[WIRE_MODE_OFF] = "off",
};

const char *wire_mode_name(uint32_t mode)
{
	return mode < WIRE_MODE_END && mode_names[mode] ? mode_names[mode] : "unknown";
}

int wire_mode_parse(const char *name)
{
	for (int mode = 1; mode < WIRE_MODE_END; mode++)
		if (strcmp(name, mode_names[mode]) == 0)
			return mode;
	return -EINVAL;
}
