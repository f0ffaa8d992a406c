/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages on the daemon's socket (AF_UNIX, SOCK_SEQPACKET): one packet is one message, a header and a body of fixed
 * layout, in host byte order since both ends are on one host. What flows by the thousand (hashes, orders, answers) goes
 * through the rings of ring.h; the socket carries the rest and the doorbells.
 *
 *   VMM                                    daemon
 *   HELLO            ------------------>            name, mode, domain, store known from an earlier daemon
 *                    <------------------   WELCOME  ring memfd [, /dev/userfaultfd], seed, store
 *                    <------------------   SEGMENT  read-only descriptor of a store segment, before it is named
 *                    <------------------   SEGMENT_CLOSE  nothing in it is live any more: close the descriptor
 *   SEGMENT_WANTED   ------------------>            the VMM has closed the descriptor of a segment that it needs now
 *                    <------------------   SEGMENT  once more
 *   REFUSED          ------------------>            memory the library leaves alone, and why
 *   MEMORY_MAP       ------------------>            which page the guest sees at which physical address, whenever that
 *                                                   has changed (in chunks; all but the last have WIRE_MORE set)
 *   IMAGE            ------------------>            a number for a disk image that it reads from
 *   DOORBELL         <----------------->            look at your ring
 *                    <------------------   ERROR    text, then the connection is closed
 *
 *   CLI                                    daemon
 *   REQUEST (JSON)   ------------------>
 *                    <------------------   REPLY (JSON, in chunks; all but the last have WIRE_MORE set)
 *
 * Who the peer is comes from the kernel (SO_PEERCRED, SO_PEERPIDFD), never from a message.
 *
 * Versions. Daemon and library of different releases meet whenever the daemon is upgraded under VMs that run. HELLO and
 * WELCOME carry feature bits, and both sides go on with those that both have; a bit that is not known is ignored.
 * HELLO and WELCOME grow at their ends: what a shorter one lacks is zero, what a longer one has besides is not looked
 * at. A HELLO that ends before its features is answered by such a WELCOME. Messages, records and flags that came later
 * are sent only to a peer with their feature. WIRE_VERSION counts changes that this cannot bridge.
 */
#ifndef PAGEFUSE_PROTOCOL_WIRE_H
#define PAGEFUSE_PROTOCOL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/vm-identity.h"
#include "protocol/label.h"

#define WIRE_MAGIC UINT32_C(0x45534650) /* "PFSE" */
#define WIRE_VERSION 1
#define WIRE_MESSAGE_MAX 32768           /* bytes, header included */
#define WIRE_NAME_MAX 64                 /* bytes, terminating zero included */
#define WIRE_DOMAIN_MAX 32               /* the same of a trust domain's name */
#define WIRE_MORE UINT32_C(1)            /* flag: further chunks of the same reply, or memory map, follow */
#define WIRE_FIRST UINT32_C(2)           /* flag: first chunk of a memory map; what came of an earlier one is void */
#define WIRE_GREETING_MAX 1024           /* bytes of a HELLO or WELCOME of whatever release */
#define WIRE_RANGES_MAX 4096             /* ranges in a memory map, all chunks together */
#define WIRE_GFN_END (UINT64_C(1) << 40) /* guest physical addresses have 52 bits at most */
#define WIRE_SEGMENT_SLOTS_MAX 65536     /* pages in a store segment, at most */

enum wire_type {
	WIRE_HELLO = 1,
	WIRE_WELCOME,
	WIRE_SEGMENT,
	WIRE_SEGMENT_CLOSE,
	WIRE_REFUSED,
	WIRE_DOORBELL,
	WIRE_ERROR,
	WIRE_REQUEST,
	WIRE_REPLY,
	WIRE_SEGMENT_WANTED,
	WIRE_MEMORY_MAP,
	WIRE_IMAGE,
	WIRE_TYPE_END
};

/** Features, as numbers of bits. */
enum wire_feature {
	WIRE_FEATURE_MEMORY_MAP, /* MEMORY_MAP may be sent to the daemon */
	WIRE_FEATURE_DOMAINS,    /* the daemon honours hello.domain; required by a client that sets it */
	WIRE_FEATURE_NOTES,      /* the daemon may order NOTES, and the VMM then sends RING_NOTED */
	WIRE_FEATURE_BLOCKS,     /* REGION_ADD may say where 2 MiB pages begin */
	WIRE_FEATURE_IMAGES,     /* IMAGE and SOURCE may be sent to the daemon */
	WIRE_FEATURE_WHOLE,      /* the daemon may order WHOLE; and the VMM tell what is BROKEN */
	WIRE_FEATURE_RETIRED,    /* never said again: RING_MAY_SAMPLE, answered without SAME */
	WIRE_FEATURE_SAMPLES,    /* SCAN may have RING_MAY_SAMPLE, and SAME be the answer */
	WIRE_FEATURE_END
};
/** What this release has. */
#define WIRE_FEATURES (((UINT64_C(1) << WIRE_FEATURE_END) - 1) & ~(UINT64_C(1) << WIRE_FEATURE_RETIRED))

/** What is shared of a VM. */
enum wire_mode {
	WIRE_MODE_ZERO = 1, /* only pages full of zeros are given back */
	WIRE_MODE_FULL,     /* all present pages are candidates */
	WIRE_MODE_HINTS,    /* only pages that were read from a disk are */
	WIRE_MODE_OFF,      /* nothing is shared */
	WIRE_MODE_END
};

/** Why the library leaves memory alone. The daemon keeps it per VM for `doctor`. */
enum wire_reason {
	WIRE_REASON_SHARED_MAPPING = 1, /* MAP_SHARED: others would see the change */
	WIRE_REASON_FILE_BACKED,        /* a private mapping of a file or memfd */
	WIRE_REASON_HUGETLB,
	WIRE_REASON_LOCKED,           /* mlock or mlockall */
	WIRE_REASON_VMM_USERFAULTFD,  /* the VMM itself uses userfaultfd there (postcopy, snapshot) */
	WIRE_REASON_DEVICE_DMA,       /* mapped for a device by VFIO or iommufd */
	WIRE_REASON_PLAIN_REFERENCES, /* O_DIRECT on NFS, Ceph or 9p, or vhost-scsi: a hold cannot see that I/O */
	WIRE_REASON_NO_USERFAULTFD,   /* no usable userfaultfd with UFFDIO_MOVE */
	WIRE_REASON_NO_PAGEMAP,       /* /proc/self/pagemap cannot be opened or lacks PAGEMAP_SCAN */
	WIRE_REASON_NO_SWAP,          /* diverged, a device may be writing it, and no swap is there to tell */
	WIRE_REASON_TOO_MANY_REGIONS,
	WIRE_REASON_RAM_LIMIT,     /* the daemon does not take in more RAM; only the daemon gives this reason */
	WIRE_REASON_NESTED,        /* the guest could run guests, whose pages KVM writes unseen by a hold here */
	WIRE_REASON_ATTRIBUTE,     /* wiped on fork, sealed, bound to NUMA nodes, ... */
	WIRE_REASON_MEM_MERGE,     /* offered, and withdrawn by MADV_UNMERGEABLE */
	WIRE_REASON_PROTECTED,     /* not readable and writable */
	WIRE_REASON_EARLIER_STORE, /* still maps the store of a daemon that is gone for good */
	WIRE_REASON_UNSEEN_CALLS,  /* the VMM discards memory past the preload, which would bring old bytes back */
	WIRE_REASON_SECCOMP,       /* the VMM's system call filter does not let the library work: its last words */
	WIRE_REASON_QUOTA,         /* the quota of its user or process is reached; only the daemon gives this reason */
	WIRE_REASON_END
};

struct wire_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;   /* enum wire_type */
	uint32_t length; /* bytes of the whole message */
	uint32_t flags;
};

struct wire_hello {
	struct wire_header header;
	uint32_t page_bytes;
	uint32_t mode;                /* enum wire_mode; of a newer release maybe one that is not known */
	uint64_t store;               /* identity of the store that this VMM still maps, 0 if none */
	char name[WIRE_NAME_MAX];     /* printable, zero terminated; the daemon makes it unique by a suffix */
	uint64_t features;            /* bits of enum wire_feature that the VMM has */
	uint64_t required;            /* that the daemon has to have, else it refuses */
	char domain[WIRE_DOMAIN_MAX]; /* zero terminated: that it wants to be in; empty: the daemon chooses */
	uint8_t uuid[UUID_BYTES];     /* the VM's; all zero: it has none */
	uint32_t flags;               /* WIRE_HELLO_…; those that are not known are ignored */
	uint32_t reserved;
};
#define WIRE_HELLO_MODE_UNSAID UINT32_C(1) /* no user has set a mode for it: the daemon's settings decide */
#define WIRE_HELLO_LEAST offsetof(struct wire_hello, features)

struct wire_welcome {
	struct wire_header header;
	uint64_t seed;            /* for page_hash() */
	uint64_t store;           /* random identity of the daemon's store; survives its restarts on the same tmpfs */
	uint32_t has_userfaultfd; /* a second descriptor, of /dev/userfaultfd, is attached */
	uint32_t reserved;
	uint64_t features; /* bits of enum wire_feature that the daemon has */
	uint64_t required; /* that the VMM has to have, else it leaves */
};
#define WIRE_WELCOME_LEAST offsetof(struct wire_welcome, features)

/** SEGMENT (with the descriptor) and SEGMENT_CLOSE. */
struct wire_segment {
	struct wire_header header;
	uint32_t segment;
	uint32_t slots; /* size of the segment in pages */
};

/** SEGMENT_WANTED. */
struct wire_wanted {
	struct wire_header header;
	uint32_t segment;
	uint32_t reserved;
};

struct wire_refused {
	struct wire_header header;
	uint64_t bytes;  /* how much is left alone for this reason, now; 0 withdraws it */
	uint32_t reason; /* enum wire_reason; of a newer release maybe one that is not known */
	uint32_t reserved;
};

/** The guest sees pages [page, page + pages) at its page frames [gfn, gfn + pages). */
struct wire_range {
	uint64_t gfn;
	uint32_t page; /* page number, see common/page.h */
	uint32_t pages;
};

/** MEMORY_MAP: ranges in the order of their frames, of which none is in two. Pages may be in several. */
struct wire_memory_map {
	struct wire_header header;
	struct wire_range ranges[];
};
#define WIRE_RANGES_PER_MESSAGE ((WIRE_MESSAGE_MAX - sizeof(struct wire_header)) / sizeof(struct wire_range))

/** IMAGE: from now on @image, 1 to RING_IMAGES_MAX, means the file of this path, as the VMM sees it. */
struct wire_image {
	struct wire_header header;
	uint32_t image;
	uint32_t reserved;
	char label[LABEL_MAX + 1]; /* see label.h; zero terminated */
};

/** DOORBELL has no body; ERROR, REQUEST and REPLY have text without terminating zero. */
struct wire_text {
	struct wire_header header;
	char text[];
};

/**
 * Checks a packet as received, whole: magic, version, type, length against @size and against the type's own size, and
 * every field with a limited range. Nothing of a message may be used before. @return 0, -EPROTO if it is malformed, or
 * -EPROTONOSUPPORT if it is of another version.
 */
int wire_check(const void *message, size_t size);

/** Copies a HELLO or WELCOME that has passed wire_check(), of whatever release: what it lacks is zero. */
void wire_take_hello(const void *message, struct wire_hello *ret);
void wire_take_welcome(const void *message, struct wire_welcome *ret);

/** Of the features whose bits are set in @features, the first: "memory-map", or "21" if it has no name here. */
void wire_feature_name(uint64_t features, char *ret, size_t size);

/** Fills in a header for a message of @length bytes. */
void wire_header_init(struct wire_header *header, enum wire_type type, size_t length);

/** "locked by mlock" and the like; never NULL. */
const char *wire_reason_text(uint32_t reason);
/** Stable short name for --json, such as "locked"; never NULL. */
const char *wire_reason_name(uint32_t reason);
const char *wire_mode_name(uint32_t mode);
/** @return a mode, or -EINVAL if @name is none. */
int wire_mode_parse(const char *name);

/** What a VM can be called: printable ASCII, no blanks, 1 to WIRE_NAME_MAX - 1 bytes. */
bool wire_name_is_valid(const char *name);
/** What a domain can be called: letters, digits, "-", "_" and ".", no "." first, 1 to WIRE_DOMAIN_MAX - 1 bytes. */
bool wire_domain_is_valid(const char *name);

/* ---- the same with descriptors, over a socket; both return 0 or -errno ---- */

#define WIRE_FDS_MAX 2

/** Sends one message without blocking. @fds stay the caller's. @return 0, -EAGAIN if the peer does not read, -errno. */
int wire_send(int socket, const void *message, size_t size, const int *fds, unsigned fd_count);
/** The same of @header and the @size bytes of @body that follow it, which need not lie beside it. */
int wire_send_body(int socket, const struct wire_header *header, const void *body, size_t size);

/**
 * Receives one message without blocking and checks it. Descriptors (CLOEXEC) go to @ret_fds, with
 * WIRE_FDS_MAX places of which unused ones are -1, and
 * are the caller's; on error none is left open. @ret_fds NULL: a message with descriptors is refused, and they are not
 * even opened, since closing one can take as long as its file system likes. @size: room at @message. @ret_size: bytes
 * received.
 * @return 0, -EAGAIN if there is none, -ECONNRESET at the end of the connection, -EPROTO, -EPROTONOSUPPORT, -errno.
 */
int wire_receive(int socket, void *message, size_t size, size_t *ret_size, int *ret_fds);

#endif
