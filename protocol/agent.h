/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the agent inside a guest and the daemon say to each other, as a stream of frames over a virtio-serial port.
 * docs/design/agent.md tells how a session goes and why. Fixed layouts, little endian, lengths in multiples of 8.
 *
 *   guest                                  host
 *   KNOCK            ------------------>            the agent has opened the port
 *                    <------------------   WELCOME  a new session, limits
 *   HELLO            ------------------>            who is there; from here on every frame names the session
 *   RAM              ------------------>            where the guest has RAM; once, before all that follows
 *   BEACON           ------------------>            a page, where it is and what is in it
 *                    <------------------   PROOF    whether it was found there: the beacon may go
 *                    <------------------   CREDIT   so many more pages may be named
 *   MODULE           ------------------>            a number for a label, such as a file's path
 *   RANGES ...       ------------------>            guest page frames that belong together, of a batch
 *   BATCH_END        ------------------>
 *                    <------------------   ACK      the batch has been dealt with, and more credit
 *   BYE              <----------------->            the session is over, and why
 *
 * Neither side believes the other: agent_check() looks at a whole frame before anything acts on it.
 */
#ifndef PAGEFUSE_PROTOCOL_AGENT_H
#define PAGEFUSE_PROTOCOL_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/label.h"

#define AGENT_PORT "org.pagefuse.agent.0"
#define AGENT_SOCKET_SUFFIX ".agent"     /* after the name of the daemon's socket: where QEMU connects a port to */
#define AGENT_MAGIC UINT32_C(0x47414650) /* "PFAG" */
#define AGENT_VERSION 1
#define AGENT_FRAME_MAX 8192                  /* bytes, header included */
#define AGENT_RAM_RANGES_MAX 128              /* in a RAM frame */
#define AGENT_BEACONS_MAX 4                   /* of a session */
#define AGENT_LABEL_MAX LABEL_MAX             /* bytes of a label */
#define AGENT_MODULES_MAX 16384               /* numbers of modules are below */
#define AGENT_RANGES_MAX 338                  /* in a RANGES frame, which is then nearly of the greatest length */
#define AGENT_BATCH_PAGES_MAX 4096            /* pages of a batch, and of a frame of it */
#define AGENT_CREDIT_MAX 65536                /* pages of credit that a host gives, at most */
#define AGENT_PFN_END (UINT64_C(1) << 40)     /* guest page frames are below: 52 bits of address */
#define AGENT_PLACE_END (UINT64_C(1) << 51)   /* a file has fewer pages */
#define AGENT_SKIPPED_MAX (UINT64_C(1) << 20) /* bytes that are left out in search of a greeting */
#define AGENT_SIGN_BYTES 16

enum agent_type {
	/* Greetings: valid outside of sessions. Their first fields are the same in all versions. */
	AGENT_KNOCK = 1,
	AGENT_WELCOME,
	AGENT_HELLO,

	AGENT_RAM,
	AGENT_BEACON,
	AGENT_PROOF,
	AGENT_CREDIT,
	AGENT_MODULE,
	AGENT_RANGES,
	AGENT_BATCH_END,
	AGENT_ACK,
	AGENT_BYE,
	AGENT_TYPE_END
};

enum agent_side { AGENT_GUEST,
		  AGENT_HOST };

enum agent_kind {                       /* of a module */
		  AGENT_KIND_OTHER = 1, /* files beyond the limits on modules */
		  AGENT_KIND_KERNEL,
		  AGENT_KIND_PROGRAM, /* a file that processes have mapped for execution */
		  AGENT_KIND_FILE,
		  AGENT_KIND_END
};

enum agent_proof {
	AGENT_PROVED = 1,
	AGENT_NOT_THERE, /* other content is at what the host takes for that page */
	AGENT_NOT_KNOWN, /* the host knows no memory there, or could not look */
	AGENT_PROOF_END
};

enum agent_bye {
	AGENT_BYE_ENDED = 1, /* the program ends */
	AGENT_BYE_OFF,       /* hints of this VM are not wanted: knock again later */
	AGENT_BYE_LIMIT,     /* more was sent than the limits allow */
	AGENT_BYE_BROKEN,    /* the other side did not keep to the protocol */
	AGENT_BYE_END
};

struct agent_header {
	uint32_t magic;
	uint32_t session; /* from WELCOME, never 0; 0 in KNOCK */
	uint16_t type;    /* enum agent_type */
	uint16_t reserved;
	uint32_t length; /* bytes of the whole frame */
};

/** KNOCK is this alone. */
struct agent_greeting {
	struct agent_header header;
	uint8_t sign[AGENT_SIGN_BYTES]; /* agent_sign: what a greeting is found by in a stream that began anywhere */
	uint32_t version;
	uint32_t page_bytes;
	uint64_t features; /* bits of what the sender can do besides; unknown ones are ignored */
};

struct agent_welcome {
	struct agent_greeting greeting;
	uint32_t modules_max;     /* numbers of modules in this session are below; at least 1 */
	uint32_t label_bytes_max; /* sum over all labels of the session */
	uint32_t batch_pages_max; /* at least 1 */
	uint32_t reserved;
};

struct agent_hello {
	struct agent_greeting greeting;
	uint8_t boot[16];  /* of this boot of the guest, random */
	uint64_t instance; /* of this start of the agent, random */
};

struct agent_pages {
	uint64_t first; /* guest page frame number */
	uint64_t pages;
};

/** Ascending, apart from each other, none empty. */
struct agent_ram {
	struct agent_header header;
	uint32_t count;
	uint32_t reserved;
	struct agent_pages ranges[];
};

struct agent_beacon {
	struct agent_header header;
	uint64_t pfn;
	uint32_t beacon; /* below AGENT_BEACONS_MAX, each once in a session */
	uint32_t reserved;
	uint8_t bytes[4096];
};

struct agent_proof_frame {
	struct agent_header header;
	uint32_t beacon;
	uint32_t proof; /* enum agent_proof */
};

struct agent_credit {
	struct agent_header header;
	uint32_t pages; /* in addition */
	uint32_t reserved;
};

struct agent_module {
	struct agent_header header;
	uint32_t module; /* in ascending order from 0 in a session, none left out */
	uint16_t kind;   /* enum agent_kind */
	uint16_t label_bytes;
	char label[]; /* printable UTF-8, not terminated; zeros up to the next multiple of 8 */
};

struct agent_range {
	uint64_t pfn;   /* of its first page, in the guest */
	uint64_t place; /* of its first page, in the module: page of the file */
	uint32_t pages; /* consecutive in both */
	uint32_t module;
};

struct agent_ranges {
	struct agent_header header;
	uint32_t batch; /* from 1 on, one after the other */
	uint32_t count;
	struct agent_range ranges[];
};

struct agent_batch_end {
	struct agent_header header;
	uint32_t batch;
	uint32_t pages;   /* of all its ranges */
	uint32_t is_last; /* of a pass: the guest has nothing more to say for now */
	uint32_t reserved;
};

struct agent_ack {
	struct agent_header header;
	uint32_t batch;  /* in the order of their ends */
	uint32_t taken;  /* pages that the host could make use of */
	uint32_t credit; /* pages that may be named in addition */
	uint32_t reserved;
};

struct agent_bye_frame {
	struct agent_header header;
	uint32_t reason; /* enum agent_bye */
	uint32_t reserved;
};

extern const uint8_t agent_sign[AGENT_SIGN_BYTES];

/** Fills in a header for a frame of @length bytes. */
void agent_header_init(struct agent_header *header, enum agent_type type, uint32_t session, size_t length);

/** The same, with what all greetings begin with. */
void agent_greeting_init(struct agent_greeting *greeting, enum agent_type type, uint32_t session, size_t length);

static inline bool agent_is_greeting(uint32_t type)
{
	return type == AGENT_KNOCK || type == AGENT_WELCOME || type == AGENT_HELLO;
}

/**
 * Checks a whole frame of @size bytes (8-byte aligned) from @sender: type, length, and every count and value by itself.
 * @return 0, -EPROTO, or -EPROTONOSUPPORT for a greeting of another version, of which only the greeting can be used.
 */
int agent_check(const void *frame, size_t size, enum agent_side sender);

/** Bytes of a MODULE frame with a label of @label_bytes. */
size_t agent_module_bytes(size_t label_bytes);

/** "the program has ended" and the like; never NULL. */
const char *agent_bye_text(uint32_t reason);
/** Stable short name: "kernel", "program", "file", "other"; never NULL. */
const char *agent_kind_name(uint32_t kind);

#endif
