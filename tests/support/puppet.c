/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/support/puppet.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/test.h"

struct order {
	puppet_function *function;
	long a, b, c;
};

static int orders[2], answers[2], puppet;

static PUPPET void obey(void)
{
	struct order order;

	while (read(orders[0], &order, sizeof(order)) == sizeof(order)) {
		long answer = order.function(order.a, order.b, order.c);

		test_progress();
		if (write(answers[1], &answer, sizeof(answer)) != sizeof(answer))
			break;
	}
	_exit(0);
}

void puppet_start(void)
{
	signal(SIGPIPE, SIG_IGN);
	test_check(pipe2(orders, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	puppet = test_fork();
	if (puppet == 0) {
		close(orders[1]);
		close(answers[0]);
		obey();
	}
	close(orders[0]);
	close(answers[1]);
}

int puppet_survives(puppet_function *function, long a, long b, long c, long *ret_result, int *ret_status)
{
	struct order order = { function, a, b, c };

	if (write(orders[1], &order, sizeof(order)) == sizeof(order) &&
	    read(answers[0], ret_result, sizeof(*ret_result)) == sizeof(*ret_result)) {
		test_progress();
		return 1;
	}
	*ret_status = test_wait_child(puppet);
	close(orders[1]);
	close(answers[0]);
	return 0;
}

long puppet_call(puppet_function *function, long a, long b, long c)
{
	int status;
	long result;

	if (puppet_survives(function, a, b, c, &result, &status))
		return result;
	if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
		test_end_as(status); /* it has said why */
	test_fail("the puppet has ended with wait status %#x", (unsigned)status);
}

void puppet_end(void)
{
	int status;

	close(orders[1]);
	status = test_wait_child(puppet);
	close(answers[0]);
	test_check(status == 0, "the puppet has ended with wait status %#x", (unsigned)status);
}
