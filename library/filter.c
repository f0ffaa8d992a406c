/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of Operation. A filter is a program of classic BPF over struct seccomp_data, without loops. It is run here as
 * the kernel runs it, but values can be unknown: arguments that vary, the instruction pointer. A jump that depends on
 * an unknown value is taken both ways: the state for the second way waits on a small stack. If the stack is full, or
 * the program takes too many steps, the answer is no.
 */
#include "library/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#include "library/made-calls.h"

#define STEPS_MAX 1000000u /* for all calls together */
#define WAITING_MAX 32u
#define INSTRUCTIONS_MAX 4096u

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

struct value {
	uint32_t bits;
	bool known;
};

struct machine {
	unsigned at;
	struct value a, x, memory[BPF_MEMWORDS];
};

struct run {
	const struct sock_fprog *program;
	const struct made_call *call;
	unsigned steps;
	struct machine waiting[WAITING_MAX];
	unsigned waiting_count;
};

static struct value known(uint32_t bits)
{
	return (struct value){ bits, true };
}

/** The word of struct seccomp_data at @offset. */
static struct value load(const struct made_call *call, uint32_t offset)
{
	uint32_t argument = (offset - (uint32_t)offsetof(struct seccomp_data, args)) / 8;

	if (offset == offsetof(struct seccomp_data, nr))
		return known((uint32_t)call->number);
	if (offset == offsetof(struct seccomp_data, arch))
		return known(ARCHITECTURE);
	if (offset < offsetof(struct seccomp_data, args) || offset >= sizeof(struct seccomp_data))
		return (struct value){ 0 };
	if (call->varies >> argument & 1)
		return (struct value){ 0 };
	return known((uint32_t)(call->values[argument] >> (offset % 8 * 8))); /* the low half comes first */
}

static struct value calculate(uint16_t operation, struct value a, struct value b)
{
	struct value result = { 0, a.known && b.known };

	switch (operation) {
	case BPF_ADD:
		result.bits = a.bits + b.bits;
		break;
	case BPF_SUB:
		result.bits = a.bits - b.bits;
		break;
	case BPF_MUL:
		result.bits = a.bits * b.bits;
		break;
	case BPF_OR:
		result.bits = a.bits | b.bits;
		break;
	case BPF_AND:
		result.bits = a.bits & b.bits;
		break;
	case BPF_XOR:
		result.bits = a.bits ^ b.bits;
		break;
	case BPF_LSH:
		result.bits = b.bits < 32 ? a.bits << b.bits : 0;
		break;
	case BPF_RSH:
		result.bits = b.bits < 32 ? a.bits >> b.bits : 0;
		break;
	case BPF_NEG:
		result = (struct value){ -a.bits, a.known };
		break;
	default: /* divisions: seccomp filters do not have them, and division by zero ends the program */
		result.known = false;
		break;
	}
	return result;
}

static bool compares(uint16_t operation, uint32_t a, uint32_t b)
{
	switch (operation) {
	case BPF_JEQ:
		return a == b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	default: /* BPF_JSET */
		return (a & b) != 0;
	}
}

/** Takes a jump. @return false: both ways are possible, and the stack is full. */
static bool jump(struct run *run, struct machine *machine, const struct sock_filter *code, struct value operand)
{
	uint16_t operation = BPF_OP(code->code);

	if (operation == BPF_JA) {
		machine->at += code->k;
		return true;
	}
	if (machine->a.known && operand.known) {
		machine->at += compares(operation, machine->a.bits, operand.bits) ? code->jt : code->jf;
		return true;
	}
	if (run->waiting_count == WAITING_MAX)
		return false;
	run->waiting[run->waiting_count] = *machine;
	run->waiting[run->waiting_count++].at += code->jf;
	machine->at += code->jt;
	return true;
}

/**
 * The library can live with an error in place of most calls, but not with a pretended success, or with waiting for a
 * supervisor.
 */
static bool is_harmless(uint32_t verdict, const struct made_call *call)
{
	switch (verdict & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
		return true;
	case SECCOMP_RET_ERRNO:
		return (verdict & SECCOMP_RET_DATA) != 0 && !call->ends_something;
	default:
		return false;
	}
}

/** One instruction other than jump and return. */
static void execute(const struct run *run, struct machine *machine, const struct sock_filter *code)
{
	struct value operand = BPF_SRC(code->code) == BPF_X ? machine->x : known(code->k);
	struct value *to = BPF_CLASS(code->code) == BPF_LD ? &machine->a : &machine->x;

	switch (BPF_CLASS(code->code)) {
	case BPF_LD:
	case BPF_LDX:
		if (BPF_MODE(code->code) == BPF_IMM)
			*to = known(code->k);
		else if (BPF_MODE(code->code) == BPF_MEM)
			*to = machine->memory[code->k % BPF_MEMWORDS];
		else if (BPF_MODE(code->code) == BPF_LEN)
			*to = known(sizeof(struct seccomp_data));
		else
			*to = load(run->call, code->k);
		break;
	case BPF_ST:
		machine->memory[code->k % BPF_MEMWORDS] = machine->a;
		break;
	case BPF_STX:
		machine->memory[code->k % BPF_MEMWORDS] = machine->x;
		break;
	case BPF_ALU:
		machine->a = calculate(BPF_OP(code->code), machine->a, operand);
		break;
	default: /* BPF_MISC */
		if (BPF_MISCOP(code->code) == BPF_TAX)
			machine->x = machine->a;
		else
			machine->a = machine->x;
		break;
	}
}

/** Runs @machine until the verdict. @return whether that is harmless. */
static bool follow(struct run *run, struct machine *machine)
{
	while (machine->at < run->program->len && ++run->steps < STEPS_MAX) {
		const struct sock_filter *code = &run->program->filter[machine->at++];

		if (BPF_CLASS(code->code) == BPF_RET) {
			struct value verdict = BPF_RVAL(code->code) == BPF_A ? machine->a : known(code->k);

			return verdict.known && is_harmless(verdict.bits, run->call);
		}
		if (BPF_CLASS(code->code) != BPF_JMP)
			execute(run, machine, code);
		else if (!jump(run, machine, code,
			       BPF_SRC(code->code) == BPF_X ? machine->x : known(code->k)))
			return false;
	}
	return false;
}

static bool lets_through(struct run *run)
{
	run->waiting[0] = (struct machine){ .a = known(0), .x = known(0) };
	run->waiting_count = 1;
	while (run->waiting_count > 0) {
		struct machine machine = run->waiting[--run->waiting_count];

		if (!follow(run, &machine))
			return false;
	}
	return true;
}

bool filter_lets_through(const struct sock_fprog *program)
{
	struct run run = { .program = program };

	if (program->len == 0 || program->len > INSTRUCTIONS_MAX)
		return true; /* the kernel rejects it */
	for (unsigned i = 0; i < made_calls_count; i++) {
		run.call = &made_calls[i];
		if (!lets_through(&run))
			return false;
	}
	return true;
}
