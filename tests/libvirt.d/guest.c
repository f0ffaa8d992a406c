/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest without a kernel, for QEMU's -kernel (multiboot) and -initrd: what QEMU has loaded as the initrd is memory
 * that it has in common with others. Says "ready" on the serial line, and then, about once a second, "right" if all of
 * that is as it was, or "WRONG". In between it sleeps.
 */
#include <stdint.h>

#define MULTIBOOT "0x1badb002"
#define SERIAL 0x3f8
#define SERIAL_STATUS (SERIAL + 5)
#define SERIAL_HAS_ROOM 0x20
#define MODULES 6      /* word of multiboot's information: where the table of modules is */
#define TIMER_VECTOR 8 /* as the BIOS has set up the interrupt controller */
#define TIMER_ALONE 0xfe
#define INTERRUPT_MASK 0x21
#define INTERRUPT_GATE 0x8e00
#define TICKS 18 /* a second, as the BIOS has set up the timer */

struct module {
	uint32_t start, end; /* addresses */
};

struct gate {
	uint16_t low, selector, flags, high;
};

struct table {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

void tick(void);
void guest(const uint32_t *information) __attribute__((used, noreturn));
char stack[4096];
static struct gate gates[TIMER_VECTOR + 1];

__asm__(".text; .align 4; .long " MULTIBOOT ", 0, -" MULTIBOOT);
__asm__(".globl _start; _start: movl $stack + 4096, %esp; pushl %ebx; call guest");
__asm__("tick: pushl %eax; movb $0x20, %al; outb %al, $0x20; popl %eax; iret");

static void out(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1"
			 :
			 : "a"(value), "Nd"(port));
}

static uint8_t in(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0"
			 : "=a"(value)
			 : "Nd"(port));
	return value;
}

static void say(const char *text)
{
	for (; *text != '\0'; text++) {
		while ((in(SERIAL_STATUS)&SERIAL_HAS_ROOM) == 0)
			;
		out(SERIAL, (uint8_t)*text);
	}
}

static void listen_to_timer(void)
{
	struct table table = { sizeof(gates) - 1, (uint32_t)gates };
	uint16_t selector;

	__asm__("mov %%cs, %0"
		: "=r"(selector));
	gates[TIMER_VECTOR] = (struct gate){ (uint16_t)(uint32_t)tick, selector, INTERRUPT_GATE,
					     (uint16_t)((uint32_t)tick >> 16) };
	__asm__ volatile("lidt %0"
			 :
			 : "m"(table));
	out(INTERRUPT_MASK, TIMER_ALONE);
}

static uint32_t sum(const struct module *module)
{
	uint32_t result = 0;

	for (const uint32_t *word = (const uint32_t *)module->start; word < (const uint32_t *)module->end; word++)
		result = result * 31 + *word;
	return result;
}

void guest(const uint32_t *information)
{
	const struct module *module = (const struct module *)information[MODULES];
	uint32_t first = sum(module);

	listen_to_timer();
	say("ready\n");
	for (;;) {
		say(sum(module) == first ? "right\n" : "WRONG\n");
		for (unsigned i = 0; i < TICKS; i++)
			__asm__ volatile("sti; hlt");
	}
}
