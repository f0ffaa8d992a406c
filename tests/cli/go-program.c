/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linked dynamically, with a note as Go's linker writes it: the preload could be in it, and would see nothing. */
struct note {
	unsigned int name_size, description_size, type;
	char name[4], description[8];
};

__attribute__((section(".note.go.buildid"), used, aligned(4))) static const struct note note = {
	.name_size = 4, .description_size = 8, .type = 4, .name = "Go\0", .description = "build/id"
};

int main(void)
{
	return 0;
}
