/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages: whatever arrives, wire_check() reads no byte too many, and what it lets through keeps its promises. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/page.h"
#include "protocol/ring.h"
#include "protocol/wire.h"
#include "tests/support/fuzz.h"

static void check_map(const struct wire_memory_map *map, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct wire_range *range = &map->ranges[i];

		must(range->page > 0 && range->pages > 0 && (uint64_t)range->page + range->pages <= UINT32_MAX);
		must(range->gfn + range->pages <= WIRE_GFN_END);
		must(i == 0 || range->gfn >= range[-1].gfn + range[-1].pages);
	}
}

static void check_image(const struct wire_image *image)
{
	must(image->image > 0 && image->image <= RING_IMAGES_MAX);
	must(memchr(image->label, 0, sizeof(image->label)) != NULL && image->label[0] != 0);
	must(strpbrk(image->label, "\n\r\t\033\177") == NULL);
}

static void check_promises(const void *message, size_t size)
{
	const struct wire_header *header = message;
	const struct wire_segment *segment = message;
	struct wire_welcome welcome;
	struct wire_hello hello;

	must(header->magic == WIRE_MAGIC && header->version == WIRE_VERSION && header->length == size);
	switch (header->type) {
	case WIRE_HELLO:
		must(size >= WIRE_HELLO_LEAST && size <= WIRE_GREETING_MAX);
		wire_take_hello(message, &hello);
		must(hello.page_bytes == PAGE_BYTES && hello.mode != 0);
		must(memchr(hello.name, 0, sizeof(hello.name)) != NULL && hello.name[0] != 0);
		must(memchr(hello.domain, 0, sizeof(hello.domain)) != NULL && strchr(hello.domain, '/') == NULL);
		must(size > WIRE_HELLO_LEAST || (hello.features | hello.required) == 0);
		break;
	case WIRE_WELCOME:
		must(size >= WIRE_WELCOME_LEAST && size <= WIRE_GREETING_MAX);
		wire_take_welcome(message, &welcome);
		must(size > WIRE_WELCOME_LEAST || (welcome.features | welcome.required) == 0);
		break;
	case WIRE_MEMORY_MAP:
		check_map(message, (size - sizeof(*header)) / sizeof(struct wire_range));
		break;
	case WIRE_SEGMENT:
	case WIRE_SEGMENT_CLOSE:
		must(size == sizeof(*segment) && segment->slots > 0 && segment->slots <= WIRE_SEGMENT_SLOTS_MAX);
		break;
	case WIRE_SEGMENT_WANTED:
		must(size == sizeof(struct wire_wanted));
		break;
	case WIRE_IMAGE:
		must(size == sizeof(struct wire_image));
		check_image(message);
		break;
	case WIRE_REFUSED:
		must(size == sizeof(struct wire_refused));
		must(((const struct wire_refused *)message)->reason != 0);
		break;
	default:
		must(header->type > 0 && header->type < WIRE_TYPE_END);
	}
}

static void check(const void *message, size_t size)
{
	int r = wire_check(message, size);

	must(r == 0 || r == -EPROTO || r == -EPROTONOSUPPORT);
	if (r == 0)
		check_promises(message, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_header *message;

	check(data, size);
	if (size < sizeof(*message))
		return 0;
	/* The same with a header that gets past the first checks. */
	message = malloc(size);
	must(message != NULL);
	memcpy(message, data, size);
	wire_header_init(message, data[6], size);
	check(message, size);
	free(message);
	return 0;
}
