/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM as the daemon knows it: the VMM process, from its first HELLO (or, after a restart, from finding its view) until
 * it has died and its view could be removed. Its references live as long, whatever its connections do, unless the
 * process has nothing of the store any more: it has called exec.
 */
#ifndef PAGEFUSE_DAEMON_VM_H
#define PAGEFUSE_DAEMON_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "daemon/disk-images.h"
#include "daemon/domain.h"
#include "daemon/guest-map.h"
#include "daemon/link.h"
#include "daemon/proc-stat.h"
#include "daemon/quota.h"
#include "daemon/samples.h"
#include "protocol/ring.h"
#include "protocol/wire.h"

/* Between attempts to remove the view of a dead process; doubled each time. */
#define DAEMON_VM_RETRY_FIRST_USEC UINT64_C(10000)
#define DAEMON_VM_RETRY_MOST_USEC UINT64_C(2000000)
#define DAEMON_VM_GIVES_BACK_USEC UINT64_C(4000) /* between looks at whether what it held has been given back */
/* Between looks at a process whose memory has not grown; pages refused longer ago than this are not shown any more. */
#define DAEMON_VM_LOOK_USEC UINT64_C(100000)
#define DAEMON_VM_LIMITED_USEC UINT64_C(60000000)

struct daemon_vm;

/** The connection that serves a VM. */
struct daemon_vm_connection {
	struct link *link; /* NULL: there is none */
	/** Ends it: calls daemon_vm_disconnect(). The process has died, or has connected anew. */
	void (*end)(void *session);
	void *session;
	struct engine_vm *engine_vm;
	uint64_t features; /* that both sides have */
	uint32_t serial;   /* tells it from all other connections of VMMs; not 0 */
	bool may_adopt;    /* the process had this store's descriptors before */
	bool ready;        /* REPORT_READY came */
};

/** Callbacks for an observer of a VM's reports, after the engine has taken them. */
struct daemon_vm_watch {
	void (*report)(void *context, struct daemon_vm *vm, const struct ring_record *report); /* NULL: nobody */
	/** The VM's mode has changed. */
	void (*mode_changed)(void *context, struct daemon_vm *vm);
	/** The VM's connection has ended: there will be no further callbacks. */
	void (*ended)(void *context);
	void *context;
};

struct daemon_vm {
	TAILQ_ENTRY(daemon_vm) entries;
	struct domain *domain;
	pid_t pid;
	uint64_t start_time; /* clock ticks since boot, from /proc/PID/stat: with pid, never the same twice */
	uid_t uid;
	int pidfd;
	sd_event_source *death, *retry;
	uint64_t retry_usec; /* until the next attempt */
	bool dead;
	bool released;       /* no process reads the store through it any more, and what it held is being given back: */
	uint64_t gives_back; /* by the engine's ticket */
	bool hung_up;        /* the process itself closed the connection: nothing that was sent to it is in flight */
	bool unaccounted;    /* may map the old store in ways that the engine has not been told */

	struct quota_user *user; /* whose quota its slots count against */
	struct proc_memory had;  /* what its process was seen to have: mapped last, of its own at most */
	uint64_t looked_usec;    /* when a look at that found nothing new */
	uint64_t adopted_slots;  /* that this connection began with */
	struct daemon_vm_limited {
		uint64_t seen_pages; /* that the engine has counted, see struct engine_vm_counters */
		uint64_t begun_usec, last_usec;
	} limited; /* time of the first and of the last refusal at a quota */

	struct daemon_vm_connection connection;
	bool stalled; /* its link holds an order that it could not pass on */
	TAILQ_ENTRY(daemon_vm) stalled_entries;
	struct engine_vm *kept; /* references of an earlier connection; dropped when a new one has said READY */

	/* What is known of the VM; empty until the first HELLO. */
	char name[WIRE_NAME_MAX];
	/* Its user, a blank, and the name that it would have were there no VMs of other users. */
	char own_name[WIRE_NAME_MAX + 12];
	struct index_entry by_name, by_own_name, by_serial;
	uint8_t uuid[UUID_BYTES];        /* all zero: it has none */
	enum wire_mode mode, asked_mode; /* that counts; that it asked for itself, or was given as it did not */
	bool mode_kept;                  /* it counts since somebody has said so, see kept.h */
	bool mode_unsaid;                /* it did not ask: it was given what the settings say */
	uint64_t refused_bytes[WIRE_REASON_END];
	struct daemon_vm_watch watch;
	struct disk_images images;  /* that it reads, as its VMM says; of the connection that is there */
	struct guest_map guest_map; /* empty until its VMM has told; of the connection that is there, or was the last */
	struct ring_stats stats;    /* as last seen; untrusted */
	struct samples *samples;    /* of its metrics; NULL: none have been set up */
};

/** The peer at the other end of @socket. The caller owns @ret_pidfd. @return 0, -ESRCH if it is gone, -errno. */
int daemon_vm_identify(int socket, struct ucred *ret_peer, int *ret_pidfd);

/** Whether its link, which it has, holds an order that it could not pass on; the domain tries again with each tick. */
void daemon_vm_set_stalled(struct daemon_vm *vm, bool stalled);

/** Walks over the VMs of all domains: @vm is NULL at first. @return the VM after @vm, or NULL. */
struct daemon_vm *daemon_vm_next(const struct domains *domains, const struct daemon_vm *vm);

/** The VM of that name, as all are told; or whose connection has that number. NULL: there is none. */
struct daemon_vm *daemon_vm_named(const struct domains *domains, const char *name);
/** User @uid's VM that would have that name were there no VMs of other users. NULL: there is none. */
struct daemon_vm *daemon_vm_own_named(const struct domains *domains, uid_t uid, const char *name);
/** That name of a VM: what is kept of it is kept by this one, so that no other user can take it away. */
const char *daemon_vm_own_name(const struct daemon_vm *vm);
struct daemon_vm *daemon_vm_of_serial(const struct domains *domains, uint64_t serial);

/**
 * Finds the VM of the process behind a connection, in whatever domain. @pidfd stays the caller's. @ret NULL: there is
 * none. @return 0, -ESRCH if it is gone, -errno.
 */
int daemon_vm_find(const struct domains *domains, const struct ucred *peer, int pidfd, struct daemon_vm **ret);
/** Adds it to @domain, when there is none in any. @return as above. */
int daemon_vm_add(struct domain *domain, const struct ucred *peer, int pidfd, struct daemon_vm **ret);
/**
 * It goes to another domain: it has no connection, and @vm is freed. @return 0; -EBUSY while somebody, the process or a
 * child of it, reads what it was given: then it stays what it is.
 */
int daemon_vm_leave(struct daemon_vm *vm);

/** Sets the user that its process is known to have by now. @return 0 or -ENOMEM. */
int daemon_vm_set_user(struct daemon_vm *vm, uid_t uid);

/** From now on compares what a connected VM claims to have with what its process has. It is about to claim more. */
void daemon_vm_look(struct daemon_vm *vm);
/** The same, if the VM is near a limit, and less often if the last look found no growth. */
void daemon_vm_look_again(struct daemon_vm *vm);

/** Takes in the processes that an earlier daemon left behind. @return 0 or -errno. */
int daemon_vm_adopt_all(struct domain *domain);

/**
 * It is another program than the one that was known, and knows no store. @return 0 if nobody reads any more what that
 * one was given; else -EBUSY: a child does.
 */
int daemon_vm_begin_anew(struct daemon_vm *vm);

/**
 * A connection begins to serve it: gives it a view of the store, a place in the engine, and the name @hello->name, with
 * a suffix if another has that. @connection: without its engine_vm; its link is open. It is copied.
 * @return 0, -ENOSPC (ENGINE_VMS_MAX), -errno; also then daemon_vm_disconnect() has to follow.
 */
int daemon_vm_connect(struct daemon_vm *vm, const struct daemon_vm_connection *connection,
		      const struct wire_hello *hello);
/**
 * The connection has ended: its references are kept if there can be any, and from now on it is looked whether the
 * process has become another program.
 */
void daemon_vm_disconnect(struct daemon_vm *vm);

/**
 * Gives it the mode that is kept of it, or that it asked for. engine_set_mode() says what becomes of what is shared.
 * @return whether it had another one.
 */
bool daemon_vm_update_mode(struct daemon_vm *vm);

/** The engine now knows all that this VM maps: what an earlier connection left is dropped. */
void daemon_vm_ready(struct daemon_vm *vm);

bool daemon_vm_is_connected(const struct daemon_vm *vm);
/** The engine's VM for this VM, or NULL. */
struct engine_vm *daemon_vm_engine_vm(const struct daemon_vm *vm);
/** "web1 (pid 123, uid 107)". Valid until the next call. */
const char *daemon_vm_describe(const struct daemon_vm *vm);

/** For a daemon that ends: keeps only VMs that are dead or dying, and handles dead ones at once. */
void daemon_vm_forget_living(struct domain *domain);

void daemon_vm_free(struct daemon_vm *vm);

#endif
