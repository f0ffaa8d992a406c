/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An agent in a guest, as the daemon sees it at SOCKET.agent: what it says is what a test has it say. */
#ifndef PAGEFUSE_TESTS_DAEMON_FAKE_AGENT_H
#define PAGEFUSE_TESTS_DAEMON_FAKE_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/agent-decoder.h"

struct fake_agent {
	int port; /* to the daemon; -1: none */
	struct agent_decoder decoder;
	uint32_t session; /* as the daemon has called it */
};

/** Connects, anew if it has a connection. @socket: the daemon's, to which the agents' is a neighbour. */
void fake_agent_connect(struct fake_agent *agent, const char *socket);
/** What the daemon says next, valid until the next call, or NULL at the end. */
const struct agent_header *fake_agent_next(struct fake_agent *agent);
/** The same, up to the end. */
void fake_agent_await_end(struct fake_agent *agent);
/** Sends. Where the daemon has hung up meanwhile, who reads next meets that. */
void fake_agent_say(const struct fake_agent *agent, const struct agent_header *frame);
void fake_agent_say_knock(const struct fake_agent *agent);
/** @bytes: PAGE_BYTES. */
void fake_agent_say_beacon(const struct fake_agent *agent, uint32_t beacon, uint64_t pfn, const uint8_t *bytes);
/** A batch of one range of module 0, the last one of its pass. */
void fake_agent_say_range(const struct fake_agent *agent, uint32_t batch, uint64_t pfn, uint32_t pages);
/** The same of another module. */
void fake_agent_say_range_of(const struct fake_agent *agent, uint32_t batch, uint32_t module, uint64_t pfn,
			     uint32_t pages);
/** A module that is new: number @module. */
void fake_agent_say_module(const struct fake_agent *agent, uint32_t module, enum agent_kind kind, const char *label);
/**
 * Takes the WELCOME and says all up to where beacons may be told. The RAM is @pages pages from frame @gfn on; there is
 * a module 0, the file "/lib".
 * @return false if it is not welcomed, but hung up on.
 */
bool fake_agent_greet(struct fake_agent *agent, uint64_t gfn, uint64_t pages);

#endif
