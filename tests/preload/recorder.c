/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/preload/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library/descriptors.h"
#include "library/fork.h"
#include "library/guest-memory.h"
#include "library/images.h"
#include "library/made-calls.h"
#include "library/mappings.h"
#include "library/options.h"
#include "library/own.h"
#include "library/part.h"
#include "library/proc.h"
#include "library/transfers.h"
#include "library/visits.h"
#include "library/withdrawal.h"
#include "preload/next.h"

struct record records[RECORDS_MAX];
unsigned records_count;
int recorder_register_result;
int recorder_begin_result;
int recorder_proc_result;
void (*recorder_in_begin)(void);
struct recorded_transfers recorder_transfers;
struct recorded_notes recorder_notes;
struct recorded_forgotten recorder_forgotten;

static uintptr_t ours;
static size_t ours_length;
static bool begun; /* between begin and end */

static void record(struct record what)
{
	errno = EXDEV;
	if (records_count == RECORDS_MAX)
		abort();
	records[records_count++] = what;
}

static void bracket(bool opens)
{
	if (begun == opens)
		abort(); /* with the real library: a deadlock, or a lock given back that is not held */
	begun = opens;
}

void recorder_reset(void *address, size_t length)
{
	records_count = 0;
	recorder_register_result = 0;
	recorder_begin_result = 0;
	recorder_proc_result = 0;
	recorder_in_begin = NULL;
	recorder_transfers = (struct recorded_transfers){ 0 };
	recorder_notes = (struct recorded_notes){ 0 };
	ours = (uintptr_t)address;
	ours_length = length;
}

void options_by_preload(void)
{
}

bool memory_is_ours(const void *address, size_t length)
{
	uintptr_t start = (uintptr_t)address;

	return ours_length != 0 && start < ours + ours_length && ours < start + length;
}

bool memory_concerns(enum memory_change change, const void *address, size_t length)
{
	(void)change;
	return memory_is_ours(address, length);
}

long own_map(uint64_t bytes, int prot, int flags, int fd, uint64_t offset)
{
	void *address = mmap(NULL, bytes, prot, flags, fd, (off_t)offset);

	return address == MAP_FAILED ? -errno : (long)address;
}

bool part_outside_store(uint64_t *start, uint64_t end, uint64_t *ret_end)
{
	*ret_end = end;
	return *start < end;
}

bool mappings_has_policy(int mode)
{
	return mode != 0;
}

bool memory_is_inside(void)
{
	return begun;
}

/* Only while there is memory of ours: cmocka opens files, too. */
void memory_note_file(int fd, bool direct)
{
	errno = EXDEV;
	if (ours_length != 0)
		record((struct record){ .kind = RECORDED_FILE, .detail = fd, .succeeded = direct });
}

void memory_note_references(void)
{
	record((struct record){ .kind = RECORDED_REFERENCES });
}

void memory_note_pins(void)
{
	record((struct record){ .kind = RECORDED_PINS });
}

bool memory_awaits_reads(void)
{
	return ours_length != 0;
}

/* As the library: of memory that is not ours nothing is known. */
void memory_before_read_from(int fd, const void *address, size_t length)
{
	struct record what = { .kind = RECORDED_READ, .address = (void *)(uintptr_t)address, .length = length };

	(void)fd;
	errno = EXDEV;
	if (memory_is_ours(address, length))
		record(what);
}

void memory_note_read(const void *address, size_t length, enum note_kind kind, int fd)
{
	errno = EXDEV;
	if (!memory_is_ours(address, length))
		return;
	recorder_notes.count++;
	recorder_notes.address = address;
	recorder_notes.length = length;
	recorder_notes.kind = kind;
	recorder_notes.fd = fd;
	recorder_notes.in_transfer = recorder_transfers.open != 0;
}

void images_forget(unsigned first, unsigned last)
{
	recorder_forgotten.first = first;
	recorder_forgotten.last = last;
}

uint64_t transfers_begin(const void *address, size_t length)
{
	struct recorded_transfers *t = &recorder_transfers;
	uint64_t transfer;

	errno = EXDEV;
	if (!memory_is_ours(address, length))
		return 0;
	transfer = UINT64_C(1) << t->begun++;
	t->open |= transfer;
	t->address = address;
	t->length = length;
	return transfer;
}

void transfers_end(uint64_t transfers)
{
	if ((recorder_transfers.open & transfers) != transfers)
		abort();
	recorder_transfers.open &= ~transfers;
}

bool memory_in_use(void)
{
	return ours_length != 0;
}

int memory_register(void *address, size_t length)
{
	record((struct record){ .kind = RECORDED_REGISTER, .address = address, .length = length });
	return recorder_register_result;
}

static void record_change(enum recorded kind, enum memory_change change, void *address, size_t length, int detail,
			  bool succeeded)
{
	struct record what = { .kind = kind, .change = change, .address = address, .length = length };

	what.detail = detail;
	what.succeeded = succeeded;
	record(what);
}

int memory_change_begin(enum memory_change change, void *address, size_t length, int detail)
{
	record_change(RECORDED_BEGIN, change, address, length, detail, false);
	if (recorder_begin_result == 0)
		bracket(true);
	if (recorder_in_begin != NULL)
		recorder_in_begin();
	return recorder_begin_result;
}

void memory_change_end(enum memory_change change, void *address, size_t length, int detail, bool succeeded)
{
	bracket(false);
	record_change(RECORDED_END, change, address, length, detail, succeeded);
}

void guest_memory_note_slot(uint32_t slot, uint64_t gpa, const void *hva, uint64_t length)
{
	record((struct record){
		.kind = RECORDED_NOTE, .address = (void *)hva, .length = length, .gpa = gpa, .slot = slot });
}

void memory_note_vcpu(bool nests)
{
	record((struct record){ .kind = RECORDED_VCPU, .detail = nests });
}

bool withdrawal_before_filter(const struct sock_fprog *program)
{
	record((struct record){ .kind = RECORDED_CONFINE, .detail = program != NULL ? program->len : 0 });
	return program != NULL;
}

void withdrawal_filter_failed(void)
{
	record((struct record){ .kind = RECORDED_CONFINE_FAILED });
}

bool visit_begin(void)
{
	return true;
}

void visit_end(void)
{
}

bool visits_are_over(void)
{
	return false;
}

void made_calls_try(void)
{
}

void fork_prepare(void)
{
	record((struct record){ .kind = RECORDED_FORK_PREPARE });
}

void fork_parent(void)
{
	record((struct record){ .kind = RECORDED_FORK_PARENT });
}

void fork_child(void)
{
	record((struct record){ .kind = RECORDED_FORK_CHILD });
}

/* One is enough here. */
static int opened = -1;

int descriptor_open_passing(const char *path, int flags, struct descriptor **ret)
{
	static char any;

	opened = (int)bare_syscall(SYS_openat, (long)AT_FDCWD, path, (long)(O_RDONLY | O_CLOEXEC | flags));
	*ret = (struct descriptor *)(void *)&any;
	return opened < 0 ? -errno : 0;
}

long descriptor_read(const struct descriptor *descriptor, void *bytes, unsigned long length, unsigned long offset)
{
	(void)descriptor;
	return bare_syscall(SYS_pread64, (long)opened, bytes, length, (long)offset);
}

void descriptor_close(struct descriptor **descriptor)
{
	bare_syscall(SYS_close, (long)opened);
	*descriptor = NULL;
}

long proc_read(const char *path, char *text, size_t size)
{
	struct descriptor *file;
	long length = recorder_proc_result;

	if (length < 0)
		return length;
	length = descriptor_open_passing(path, 0, &file);
	if (length < 0)
		return length;
	length = descriptor_read(file, text, size - 1, 0);
	descriptor_close(&file);
	text[length > 0 ? length : 0] = 0;
	return length;
}

/* No number is the library's here; tests/safety/closed.c has the real one. */
bool descriptors_concern(unsigned first, unsigned last)
{
	(void)first;
	(void)last;
	return false;
}

bool descriptors_is_vmms(int fd)
{
	(void)fd;
	return true;
}

bool descriptors_begin(bool *ret_had)
{
	(void)ret_had;
	abort();
}

void descriptors_end(bool had)
{
	(void)had;
	abort();
}

void descriptors_closing(bool begins)
{
	(void)begins;
}

int descriptors_first(unsigned first, unsigned last)
{
	(void)first;
	(void)last;
	abort();
}

void descriptors_make_way(int fd)
{
	(void)fd;
	abort();
}

void descriptors_take_back(int fd)
{
	(void)fd;
	abort();
}
