/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What control.c (from a request to its reply, and the short requests) and the control-….c of the long ones share.
 * control.c calls these, and all call control-common.c, which calls none of them.
 */
#ifndef PAGEFUSE_DAEMON_CONTROL_INTERNAL_H
#define PAGEFUSE_DAEMON_CONTROL_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "daemon/control.h"
#include "daemon/documents.h"
#include "daemon/vm.h"

struct status_copy;
struct metrics_request;
struct estimate_request;
struct modules_request;
struct map_request;

struct control_answer {
	const struct control *control;
	uid_t uid; /* the asking user; for an observer with a read-only request the daemon's own user, who sees all */
	bool failed;
	FILE *stream; /* into: */
	char *text;
	size_t size;

	/*
	 * What has to be looked at before the reply can begin, some of it with each call. @return NULL: that was not
	 * all; else what the reply begins with. NULL: nothing has to be.
	 */
	json_t *(*gather)(struct control_answer *answer);
	/*
	 * The lists are made of nothing but what is in here, and so by a thread, see documents.h. The loop does nothing
	 * with this answer while in_thread: from when it has to wait for the thread until that has made it complete.
	 */
	bool by_thread, in_thread, complete;
	struct document document;
	/* The asking connection's; ready NULL: it has been closed. */
	void (*ready)(void *owner);
	void *owner;
	/*
	 * Copies what is told, all of one moment, when the thread has time for it. @return what the reply begins with;
	 * NULL: no memory. NULL: all is copied before.
	 */
	json_t *(*copy)(struct control_answer *answer);
	/*
	 * What the reply ends with: a list of so many items, which are made a few at a time. item NULL: there is
	 * none. One that is null is left out.
	 */
	const char *list;
	json_t *(*item)(const struct control_answer *answer, size_t i);
	size_t next, count;
	/*
	 * After that list: writes what stands between it and the next one, up to its bracket, and sets item and count.
	 * NULL: there is none, or no other.
	 */
	void (*next_list)(struct control_answer *answer);
	bool written;               /* there is an item already */
	struct status_copy *status; /* that it is of */
	struct wire_range *ranges;  /* or these */
	struct kept_vm *kept;       /* or these */
	json_t *names;              /* or names, or tickets */
	json_t *granted;            /* what "modify" replies, once so many changes are settled, see kept.h */
	uint64_t changes;
	bool forgets;                      /* the same */
	struct metrics_request *metrics;   /* or these */
	struct modules_request *modules;   /* or these */
	struct map_request *map;           /* or these, and labels */
	struct estimate_request *estimate; /* or these, and pairs of them */
};

/* ---- control-common.c; documents are NULL without memory, and jansson makes NULL of what NULL is put into ---- */

/** A number, or the greatest that JSON's readers take exactly. */
json_t *control_number(uint64_t value);
/** Its text; an empty one if it is none. */
json_t *control_uuid(const uint8_t uuid[UUID_BYTES]);
/** An error's document. */
json_t *control_error(const char *code, const char *message, const char *value);

/** Whether @uid is root or the daemon's own user: these see and steer all VMs. */
bool control_sees_all(uid_t uid);
/** Whether @uid sees and steers @vm. */
bool control_may_see(uid_t uid, const struct daemon_vm *vm);
/** Whether @uid sees the sums of @domain: a user without a VM in it does not. */
bool control_may_see_domain(uid_t uid, const struct domain *domain);
/** The VM called @name. @ret_error: a document if the result is NULL: there is none, or it is another user's. */
struct daemon_vm *control_find_own_vm(const struct control *control, uid_t uid, const json_t *name, json_t **ret_error);

/* ---- requests, each in its own file ---- */

/** Begins to answer "status". @return as control.c's begin(). */
json_t *control_status(struct control_answer *answer);
/** Sets *copy to NULL. */
void control_status_free(struct status_copy **copy);

/** Answers "modify"; begins to answer "kept". @return as control.c's begin(). */
json_t *control_modify(struct control_answer *answer, const struct admission_peer *peer, const json_t *request);
json_t *control_kept(struct control_answer *answer);
/** Whether the answer waits until what is kept is settled. */
bool control_modify_waits(const struct control_answer *answer);

/** Begins to answer "metrics", or with @set "set-metrics". @return as control.c's begin(). */
json_t *control_metrics(struct control_answer *answer, const json_t *request, bool set);
void control_metrics_free(struct metrics_request *asked);

/** Begins to answer "estimate". @return as control.c's begin(). */
json_t *control_estimate(struct control_answer *answer, const json_t *request);
void control_estimate_free(struct estimate_request *asked);
/** Begins to answer "modules". @return as control.c's begin(). */
json_t *control_modules(struct control_answer *answer, const json_t *request);
void control_modules_free(struct modules_request *asked);
/** Begins to answer "map". @return as control.c's begin(). */
json_t *control_map(struct control_answer *answer, const json_t *request);
void control_map_free(struct map_request *asked);

#endif
