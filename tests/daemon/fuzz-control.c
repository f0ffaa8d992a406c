/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client's request: whatever it asks, the reply is one JSON object. */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/daemon.h"
#include "tests/support/fuzz.h"

static struct daemon the_daemon;

static void stop(void)
{
	daemon_stop(&the_daemon);
	sd_event_unref(the_daemon.event);
}

/* One that nobody can reach: it does not listen, and its store is memory without a name. */
static void start(void)
{
	if (the_daemon.event != NULL)
		return;
	must(sd_event_default(&the_daemon.event) >= 0);
	config_default(&the_daemon.config);
	the_daemon.config.store.kind = STORE_MEMFD;
	snprintf(the_daemon.socket_path, sizeof(the_daemon.socket_path), "/tmp/pagefuse-fuzz-%d", getpid());
	must(daemon_start(&the_daemon) == 0);
	atexit(stop);
}

/* That it was told of something is seen by the answer. */
static void on_ready(void *owner)
{
	must(owner == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ucred self = { .pid = getpid(), .uid = geteuid(), .gid = getegid() };
	const struct control_asker asker = {
		.peer = { .credentials = &self, .socket = -1, .pidfd = -1 },
		.payer = fair_user_get(&the_daemon.fair, self.uid),
		.ready = on_ready,
	};
	struct control_answer *answer;
	size_t length = 0;
	char *text;
	json_t *reply;

	must(asker.payer != NULL);
	start();
	answer = control_begin(&the_daemon.control, &asker, (const char *)data, size);
	must(answer != NULL);
	while (!control_go_on(answer))
		if (control_waits(answer))
			must(sd_event_run(the_daemon.event, UINT64_MAX) >= 0);
	text = control_end(answer, &length);
	fair_user_put(asker.payer);
	must(text != NULL && strlen(text) == length);
	reply = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	must(json_is_object(reply));
	json_decref(reply);
	free(text);
	return 0;
}
