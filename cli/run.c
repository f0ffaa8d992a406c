/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse run: becomes the VMM, with the preload, a name, and a daemon to talk to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "cli/filter-probe.h"
#include "cli/findings.h"
#include "cli/host-checks.h"
#include "cli/host-facts.h"
#include "cli/locate.h"
#include "cli/preload-link.h"
#include "cli/private-daemon.h"
#include "cli/vmm-command.h"
#include "cli/vmm-version.h"
#include "common/vm-identity.h"
#include "protocol/agent.h"
#include "protocol/wire.h"

struct run {
	const char *name; /* or NULL */
	const char *mode;
	const char *domain; /* or NULL: the daemon chooses */
	bool no_agent_port, no_private_daemon;
	bool lent; /* the daemon says that it lends a userfaultfd */
	char **command;
	char name_found[WIRE_NAME_MAX];
	char path[PATH_MAX], preload[PATH_MAX];
	struct host_facts facts;
	char refusal[512]; /* why the daemon will not serve it, if so */
};

static int choose_name(struct run *run)
{
	if (run->name == NULL) {
		vm_identity_name(run->command, getpid(), run->name_found, sizeof(run->name_found));
		run->name = run->name_found;
	}
	if (!wire_name_is_valid(run->name))
		return complain_usage("'%s' cannot be a VM's name; give one of 1 to %d printable ASCII characters, no "
				      "blanks, with --name",
				      run->name, WIRE_NAME_MAX - 1);
	return CLI_DONE;
}

static int find_command(struct run *run)
{
	int r = vmm_command_find(run->command[0], run->path);

	switch (r) {
	case 0:
		return CLI_DONE;
	case -ENOENT:
		complain("'%s': no such program; install it or give its full path", run->command[0]);
		return CLI_FAILED;
	case -EISDIR:
		complain("'%s' is a directory; give the program to run", run->command[0]);
		return CLI_FAILED;
	case -EACCES:
		complain("'%s' is not executable; give a program, or chmod it", run->command[0]);
		return CLI_FAILED;
	default:
		complain("'%s': %s; give the full path of a program", run->command[0], strerror(-r));
		return CLI_FAILED;
	}
}

static int check_command(const struct run *run)
{
	int r = vmm_command_check(run->path);

	switch (r) {
	case VMM_OBSTACLE_NONE:
		return CLI_DONE;
	case VMM_OBSTACLE_SETUID:
		complain("'%s' is setuid or setgid, so the preload would be dropped; run pagefuse as that user, on the "
			 "VMM itself",
			 run->path);
		break;
	case VMM_OBSTACLE_CAPABILITIES:
		complain("'%s' has file capabilities, so the preload would be dropped; remove them with `setcap -r`, "
			 "or run this as root",
			 run->path);
		break;
	case VMM_OBSTACLE_STATIC:
		complain("'%s' is statically linked, so there is nothing to preload into; use a dynamically linked "
			 "one, or link it with libpagefuse",
			 run->path);
		break;
	case VMM_OBSTACLE_GO:
		complain("'%s' is a Go program, which calls the kernel past libc, so the preload would not see what it "
			 "does to memory; link it with libpagefuse, and call that",
			 run->path);
		break;
	case VMM_OBSTACLE_FOREIGN:
		complain("'%s' is of another architecture than the preload; use a 64-bit VMM of this host's kind",
			 run->path);
		break;
	default:
		complain("'%s': %s; give a program that can be run", run->path, strerror(-r));
		break;
	}
	return CLI_FAILED;
}

static int find_preload(struct run *run)
{
	char found[PATH_MAX];
	int r = locate_preload(found);

	if (r < 0) {
		const char *named = getenv("PAGEFUSE_PRELOAD");

		complain("'%s': no preload there (%s); install pagefuse, or set PAGEFUSE_PRELOAD to "
			 "libpagefuse-preload.so",
			 named && *named ? named : PAGEFUSE_PRELOAD_INSTALLED, strerror(-r));
		return CLI_FAILED;
	}
	r = preload_link(found, run->preload);
	if (r < 0) {
		complain("'%s': LD_PRELOAD cannot hold a path with blanks or colons, and there can be no link to it "
			 "without (%s); install pagefuse in another place",
			 found, strerror(-r));
		return CLI_FAILED;
	}
	return CLI_DONE;
}

/** The first thing that keeps all of the VM from being shared, in doctor's words. The VM runs all the same. */
static void tell_obstacle(const struct run *run)
{
	struct findings findings = { 0 };

	if (run->refusal[0] != '\0') {
		complain("'%s' runs, but nothing of it is shared: %s", run->name, run->refusal);
		return;
	}
	host_obstacles(&run->facts, &findings);
	for (size_t i = 0; i < findings.count; i++)
		if (findings.list[i].severity == SEVERITY_ERROR) {
			complain("'%s' runs, but nothing of it is shared: %s. %s", run->name, findings.list[i].text,
				 findings.list[i].remedy);
			break;
		}
	findings_done(&findings);
}

/** The mode that modifyvm has kept for a VM takes precedence; says so if another one was given. */
static void tell_kept(const struct run *run, const char *kept)
{
	if (*kept != '\0' && strcmp(kept, run->mode) != 0)
		complain("'%s' has mode %s, not %s: pagefuse modifyvm has kept that for it, and its --forget drops it",
			 run->name, kept, run->mode);
}

static json_t *admit_request(const struct run *run)
{
	const char *domain = run->domain ? run->domain : getenv("PAGEFUSE_DOMAIN");
	uint8_t uuid[UUID_BYTES];
	char text[UUID_TEXT] = "";

	if (vm_identity_uuid(run->command, uuid))
		uuid_text(uuid, text);
	return json_pack("{s:s, s:s, s:s, s:s}", "command", "admit", "name", run->name, "domain", domain ? domain : "",
			 "uuid", text);
}

/** Remembers that, and why, the daemon will not serve the VM. A busy daemon, or another answer, is no refusal. */
static void ask_daemon(const struct cli *cli, struct client *client, struct run *run)
{
	json_t *request = admit_request(run);
	const json_t *error;
	json_t *reply = NULL;
	int r = request ? client_request(client, request, &reply) : 0;

	if (r == -ECONNABORTED)
		snprintf(run->refusal, sizeof(run->refusal), "pagefused at %s refuses: %s. Its log tells more.",
			 cli->socket_path, client_refusal(client));
	else if (r == -EPROTO || r == -EPROTONOSUPPORT)
		snprintf(run->refusal, sizeof(run->refusal),
			 "what answers at %s does not speak this protocol. Use the pagefused of version %s.",
			 cli->socket_path, PAGEFUSE_VERSION);
	else if (r == -ECONNRESET || r == -EPIPE)
		snprintf(run->refusal, sizeof(run->refusal),
			 "pagefused at %s has closed the connection. Its log says why.", cli->socket_path);
	error = json_object_get(reply, "error");
	if (strcmp(field_text(error, "code"), "not-permitted") == 0)
		snprintf(run->refusal, sizeof(run->refusal),
			 "%s. Have root change the settings of pagefused, or ask for another domain.",
			 field_text(error, "message"));
	else if (r == 0)
		tell_kept(run, field_text(reply, "kept_mode"));
	run->lent = field_bool(reply, "lends_userfaultfd");
	json_decref(reply);
	json_decref(request);
}

/** Whether a daemon answers. @return CLI_DONE, CLI_NO_DAEMON (nothing said yet), or CLI_FAILED after complaining. */
static int find_daemon(const struct cli *cli, struct run *run)
{
	struct ucred peer;
	struct client *client;
	int r = client_connect(cli->socket_path, &client);

	if (r == -ENOENT || r == -ECONNREFUSED)
		return CLI_NO_DAEMON;
	if (r == -EACCES) {
		snprintf(run->refusal, sizeof(run->refusal),
			 "no permission to connect to pagefused at %s. Have root make this user a member of the "
			 "socket's group, or name a socket of your own with --socket.",
			 cli->socket_path);
		return CLI_DONE;
	}
	if (r < 0 && run->no_private_daemon) {
		snprintf(run->refusal, sizeof(run->refusal),
			 "pagefused at %s cannot be asked (%s). Its log may say why.", cli->socket_path, strerror(-r));
		return CLI_DONE;
	}
	if (r < 0)
		return client_failed(cli, r);
	client_peer(client, &peer);
	ask_daemon(cli, client, run);
	client_free(client);
	host_facts_daemon(&run->facts, &peer);
	/* It knows better: this process may have a /dev of its own, as under libvirt. */
	run->facts.userfaultfd_lent |= run->lent;
	return CLI_DONE;
}

/** The VM takes part as soon as one answers: its preload goes on looking. */
static int go_without_daemon(const struct cli *cli, struct run *run)
{
	snprintf(run->refusal, sizeof(run->refusal),
		 "no pagefused answers at %s. Start it: systemctl start pagefused; the VM takes part from then on.",
		 cli->socket_path);
	return CLI_DONE;
}

static int start_daemon(const struct cli *cli, struct run *run)
{
	char daemon[PATH_MAX], log[PATH_MAX];
	int r = locate_daemon(daemon), found;

	if (r < 0) {
		const char *named = getenv("PAGEFUSED");

		complain("'%s': no pagefused there to start (%s); install pagefuse, or set PAGEFUSED to the program",
			 named && *named ? named : PAGEFUSED_INSTALLED, strerror(-r));
		return CLI_NO_DAEMON;
	}
	r = private_daemon_start(daemon, cli->socket_path, log);
	found = find_daemon(cli, run); /* also if it failed: another one may have been faster */
	if (r == 0)
		return CLI_DONE;
	if (found != CLI_NO_DAEMON)
		return found;
	if (r == -ECHILD || r == -ETIMEDOUT)
		complain("'%s' did not start (%s); '%s' says why", daemon,
			 r == -ECHILD ? "it ended" : "not ready in time", log);
	else
		complain("'%s': cannot start a private pagefused there (%s); set XDG_RUNTIME_DIR to a directory of "
			 "your own, or name a socket in one with --socket",
			 cli->socket_path, r == -EPERM ? "the directory is not this user's alone" : strerror(-r));
	return CLI_NO_DAEMON;
}

/** An LD_PRELOAD that is there already keeps its place: what must come first (a sanitizer) is still first. */
static int set_preload(const char *preload)
{
	const char *old = getenv("LD_PRELOAD");
	char *both;
	int r;

	if (old == NULL || *old == '\0')
		return setenv("LD_PRELOAD", preload, 1) < 0 ? -errno : 0;
	if (strstr(old, preload) != NULL)
		return 0;
	if (asprintf(&both, "%s:%s", old, preload) < 0)
		return -ENOMEM;
	r = setenv("LD_PRELOAD", both, 1) < 0 ? -errno : 0;
	free(both);
	return r;
}

static int become_command(const struct run *run)
{
	fflush(NULL);
	execv(run->path, run->command);
	complain("'%s': %s; give a program that can be run", run->path, strerror(errno));
	return CLI_FAILED;
}

/**
 * System call filters that this process is under the VMM will be under, too. The library cannot look into them, and
 * leaves a VM alone for those that it is not promised to get along with; so they are tried out. Before anything else
 * is: they could end this process as well. @return CLI_DONE, CLI_FAILED after complaining; run->refusal: they do not.
 */
static int try_filters(struct run *run)
{
	unsigned count = filter_probe_count();
	char promise[16];

	if (count == 0 || getenv("PAGEFUSE_SECCOMP") != NULL)
		return CLI_DONE;
	if (find_preload(run) != CLI_DONE)
		return CLI_FAILED;
	if (!filter_probe_try(run->preload)) {
		snprintf(run->refusal, sizeof(run->refusal),
			 "it is under a system call filter that does not let through what pagefuse calls. Have "
			 "what started it, a container or systemd, allow what pagefuse-preload(7) lists.");
		return CLI_DONE;
	}
	snprintf(promise, sizeof(promise), "%u", count);
	if (setenv("PAGEFUSE_SECCOMP", promise, 1) == 0)
		return CLI_DONE;
	complain("the environment of '%s': %s; free some memory", run->path, strerror(errno));
	return CLI_FAILED;
}

static int prepare_environment(const struct cli *cli, const struct run *run)
{
	int r = set_preload(run->preload);

	if (r == 0 && (setenv("PAGEFUSE_NAME", run->name, 1) < 0 || setenv("PAGEFUSE_MODE", run->mode, 1) < 0 ||
		       setenv("PAGEFUSE_SOCKET", cli->socket_path, 1) < 0 ||
		       (run->domain != NULL && setenv("PAGEFUSE_DOMAIN", run->domain, 1) < 0)))
		r = -errno;
	if (r == 0)
		return CLI_DONE;
	complain("the environment of '%s': %s; free some memory", run->path, strerror(-r));
	return CLI_FAILED;
}

/** A port for an agent in the guest, if the daemon listens to them. */
static int add_agent_port(const struct cli *cli, struct run *run)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct vmm_version version;
	struct stat status;
	char **command;
	int r;

	if (run->no_agent_port || !vmm_command_takes_agent_port(run->command) ||
	    snprintf(path, sizeof(path), "%s" AGENT_SOCKET_SUFFIX, cli->socket_path) >= (int)sizeof(path) ||
	    stat(path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return CLI_DONE;
	r = vmm_version_ask(run->path, &version);
	if (r < 0) {
		complain("'%s' --version: %s, so it gets no port for an agent; add one by hand, see pagefuse-run(1), "
			 "or use --no-agent-port",
			 run->path,
			 r == -ENODATA     ? "it says no version of QEMU"
			 : r == -ETIMEDOUT ? "it does not end"
					   : strerror(-r));
		return CLI_DONE;
	}
	command = vmm_command_with_agent_port(run->command, &version, path);
	if (command == NULL) {
		complain("the command line of '%s': %s; free some memory", run->path, strerror(ENOMEM));
		return CLI_FAILED;
	}
	run->command = command;
	return CLI_DONE;
}

static int run_vmm(struct cli *cli, struct run *run)
{
	int r;

	if ((r = choose_name(run)) != CLI_DONE || (r = find_command(run)) != CLI_DONE ||
	    (r = check_command(run)) != CLI_DONE || (r = try_filters(run)) != CLI_DONE)
		return r;
	if (run->refusal[0] != '\0') {
		tell_obstacle(run);
		return become_command(run); /* as without us, like below */
	}
	host_facts_read("", 0, &run->facts);
	host_facts_probe(&run->facts);
	host_facts_daemon(&run->facts, NULL);
	if (host_kernel_is_unfit(&run->facts)) {
		tell_obstacle(run);
		return become_command(run); /* as without us: KSM may be of use to it */
	}
	r = find_preload(run);
	if (r == CLI_DONE)
		r = find_daemon(cli, run);
	if (r == CLI_NO_DAEMON)
		r = run->no_private_daemon ? go_without_daemon(cli, run) : start_daemon(cli, run);
	/* The VMM is asked for its version before there is a preload. */
	if (r != CLI_DONE || (r = add_agent_port(cli, run)) != CLI_DONE ||
	    (r = prepare_environment(cli, run)) != CLI_DONE)
		return r;
	tell_obstacle(run);
	return become_command(run);
}

static int run_run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		{ "name", required_argument, NULL, 'n' },
		{ "mode", required_argument, NULL, 'm' },
		{ "domain", required_argument, NULL, 'd' },
		{ "no-agent-port", no_argument, NULL, 'A' },
		{ "no-private-daemon", no_argument, NULL, 'P' },
		{ 0 },
	};
	struct run run = { .mode = "full" };
	int option;

	while ((option = cli_next_option(cli, argc, argv, "+:n:m:d:", options)) != -1) {
		if (option == '?')
			return CLI_USAGE;
		if (option == 'n')
			run.name = optarg;
		else if (option == 'd')
			run.domain = optarg;
		else if (option == 'A')
			run.no_agent_port = true;
		else if (option == 'P')
			run.no_private_daemon = true;
		else
			run.mode = optarg;
	}
	if (wire_mode_parse(run.mode) < 0)
		return complain_usage("--mode '%s': no such mode; give off, zero, hints or full", run.mode);
	if (run.domain != NULL && !wire_domain_is_valid(run.domain))
		return complain_usage("--domain '%s': cannot be a domain's name; give one of 1 to %d letters, digits, "
				      "'-', '_' and '.'",
				      run.domain, WIRE_DOMAIN_MAX - 1);
	if (optind == argc)
		return complain_usage("run needs a command, such as `pagefuse run -- qemu-system-x86_64 ...`");
	run.command = argv + optind;
	return run_vmm(cli, &run);
}

const struct cli_command command_run = {
	.name = "run",
	.usage = "[--name NAME] [--mode off|zero|hints|full] [--domain NAME] [--no-agent-port]\n"
		 "                    [--no-private-daemon] -- COMMAND...",
	.summary = "Runs a VMM so that its memory is shared.",
	.options = "  -n, --name NAME  of the VM; default: the guest's in QEMU's -name, else program and pid\n"
		   "  -m, --mode MODE  off: nothing, until modifyvm; zero: only give zero pages back;\n"
		   "                   hints: share what was read from disks; full: share all equal pages,\n"
		   "                   these first (default)\n"
		   "  -d, --domain NAME  of the VMs that it shares with; default: those of the same user\n"
		   "  --no-agent-port  add no virtio-serial port for pagefuse-agent to QEMU\n"
		   "  --no-private-daemon  start no daemon where none answers; the VM runs, and is shared once\n"
		   "                   there is one\n",
	.run = run_run,
};
