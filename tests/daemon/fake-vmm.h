/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM process that speaks the protocol without the library: it answers orders from a plain buffer and maps real slots
 * over it, without any hold, since nobody writes meanwhile. It is a child of the test and does what the test asks.
 */
#ifndef PAGEFUSE_TESTS_DAEMON_FAKE_VMM_H
#define PAGEFUSE_TESTS_DAEMON_FAKE_VMM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/ring.h"
#include "protocol/wire.h"
#include "tests/daemon/fake-agent.h"

struct fake_vmm {
	pid_t pid;
	int control; /* to the child */
};

struct fake_options {
	const char *name;
	enum wire_mode mode; /* 0: full */
	uint32_t pages;      /* of its RAM, page numbers from 1 on */
	uint32_t common;     /* of these, from the first one on: the same in every VM */
	uint32_t zero;       /* behind those: full of zeros; the rest is unique */
	uid_t uid;           /* it runs as */
	gid_t gid;           /* the same; 0: as the user's number */
	const char *domain;  /* that it asks for, or NULL */
	const char *uuid;    /* of the VM, or NULL */
	bool mode_unsaid;    /* as of a preload that was told of no mode */
	bool large;          /* its RAM is 2 MiB pages; of a multiple of 512 pages */
	bool may_fail;       /* fake_start() does not mind if it cannot connect */
	bool defiant;        /* answers a MERGE with another slot than it was told */
	unsigned forgetful;  /* closes all segments after each order, and asks so many times for the one it needs */
};

enum fake_request {
	FAKE_CONNECT = 1, /* (again), adopting what it maps; detail: 0, or 1 to say that it knows no store */
	FAKE_DISCONNECT,
	FAKE_STATE,        /* only answers */
	FAKE_AWAIT,        /* answers when at least `detail` pages are shared, zero, or the connection is gone */
	FAKE_WRITE,        /* writes page `detail` */
	FAKE_CHECK,        /* damaged: pages whose content is not what it should be */
	FAKE_FRAME,        /* frame: of page `detail` */
	FAKE_TOUCH,        /* reads page `detail`; address: where it is */
	FAKE_FORK,         /* pid: of a child that keeps all mappings until it is killed */
	FAKE_OPEN_SEGMENT, /* fd_of_segment: a descriptor number in the child, of the first segment it was given */
	FAKE_NEXT_CONTENT, /* writes all common pages: the same again in every VM, another for each detail */
	FAKE_TOUCH_SLOT,   /* reads slot `detail` through a mapping of its own, whatever it holds */
	FAKE_READ,         /* says that all of its pages were read from image `detail`, /image-DETAIL */
	FAKE_MAP,          /* says that its guest sees pages 1 to 64 at 0, and the others at frame `detail` */
	FAKE_AGENT,        /* fd_of_agent: a descriptor number in the child, of a new connection as its guest's agent */
};

struct fake_answer {
	int error; /* 0 or -errno */
	uint32_t shared, zeroed, damaged;
	bool connected, welcomed_userfaultfd;
	uint64_t store, seed; /* of the store that it is given */
	uint64_t frame;
	uintptr_t address;
	uint32_t closes; /* SEGMENT_CLOSE messages so far */
	uint32_t reused; /* segments announced under the number of one that was closed */
	uint32_t slot;   /* that page `detail` of FAKE_FRAME maps */
	pid_t pid;
	int fd_of_segment, fd_of_agent;
};

/** Has this process, root's, be user @uid in group @gid alone; the death of its parent ends it. */
void fake_become(uid_t uid, gid_t gid);
/** Starts the process and connects it. */
struct fake_vmm fake_start(const char *socket, const struct fake_options *options);
/** Asks and waits for the answer. */
struct fake_answer fake_ask(const struct fake_vmm *vmm, enum fake_request request, uint32_t detail);
/** The frame of page @page, for root: VMs of other users may not know it. */
uint64_t fake_frame(const struct fake_vmm *vmm, uint32_t page);
/** The first segment that it was given: the same open file, in this process. */
int fake_take_segment(const struct fake_vmm *vmm);
/** A new connection as the agent of its guest, which this process speaks for: tried until the VM is served. */
struct fake_agent fake_take_agent(const struct fake_vmm *vmm);
/** SIGKILL, and waits. */
void fake_kill(struct fake_vmm *vmm);

/* ---- a connection by hand, for tests of the protocol itself ---- */

struct fake_link {
	int socket;
	int ring_fd, userfaultfd;
	struct wire_welcome welcome;
	void *ring;
	struct ring_end up, down;
};

/** Connects, says HELLO, takes the WELCOME and maps the ring. @return 0, or -errno; the refusal's text is printed. */
int fake_link_open(struct fake_link *link, const char *socket, const char *name, enum wire_mode mode, uint64_t store);
/** The same, asking for a domain. */
int fake_link_open_in(struct fake_link *link, const char *socket, const char *name, enum wire_mode mode, uint64_t store,
		      const char *domain);
/** The same with whatever else is in @hello; its header, page size and features are filled in. */
int fake_link_open_by(struct fake_link *link, const char *socket, struct wire_hello *hello);
void fake_link_close(struct fake_link *link);
/** Puts one record and rings. */
void fake_link_post(struct fake_link *link, uint8_t op, uint32_t page, uint16_t count, uint64_t value);
/** The same with flags. */
void fake_link_post_record(struct fake_link *link, const struct ring_record *record);
void fake_link_ring(struct fake_link *link);
/** Writes anything at all into the rings, and frees staging pages under the daemon's hands. @random: test_seed()'s. */
void fake_link_spoil(struct fake_link *link, uint64_t *random);
/** Asks for the descriptor of a segment once more. @return 0, -EAGAIN if there is no room in the socket, -errno. */
int fake_link_want(struct fake_link *link, uint32_t segment);

#endif
