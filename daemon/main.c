/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefused: options, signals, and the loop. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/socket-path.h"
#include "daemon/clock.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/turn.h"

enum exit_code {
	EXIT_DONE,
	EXIT_FAILED,
	EXIT_USAGE,
};

#define VMS_FILE "vms.json"
#define DESCRIPTORS_WANTED 65536 /* a VM takes three, a segment of the store one */

static const char usage[] =
	"Usage: pagefused [--socket PATH] [--config FILE] [--vms FILE] [--private]\n"
	"Shares identical memory pages of the VMs that connect to it.\n"
	"\n"
	"  --socket PATH  listen there instead of $PAGEFUSE_SOCKET or the default place\n"
	"  --config FILE  read settings from FILE instead of " CONFIG_PATH "\n"
	"  --vms FILE     keep what `pagefuse modifyvm` says of VMs there\n"
	"  --private      end with the last VM, or if none comes\n"
	"  --help         print this text\n"
	"  --version      print the version\n"
	"\n"
	"Settings in FILE with their defaults, see pagefused.conf(5). SIGHUP has it read anew.\n";

struct options {
	const char *socket, *config, *vms;
	bool private;
};

/* @return -1 to go on, or an exit code. */
static int parse_options(int argc, char **argv, struct options *ret)
{
	static const struct option known[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "config", required_argument, NULL, 'c' },
		{ "vms", required_argument, NULL, 'v' },
		{ "private", no_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};

	*ret = (struct options){ 0 };
	for (int c; (c = getopt_long(argc, argv, "+", known, NULL)) != -1;) {
		switch (c) {
		case 's':
			ret->socket = optarg;
			break;
		case 'c':
			ret->config = optarg;
			break;
		case 'v':
			ret->vms = optarg;
			break;
		case 'p':
			ret->private = true;
			break;
		case 'h':
			fputs(usage, stdout);
			config_describe(stdout);
			return EXIT_DONE;
		case 'V':
			puts("pagefused " PAGEFUSE_VERSION);
			return EXIT_DONE;
		default: /* getopt has said what is wrong */
			fputs("Try: pagefused --help\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "pagefused: argument \"%s\" is not understood; try: pagefused --help\n", argv[optind]);
		return EXIT_USAGE;
	}
	return -1;
}

/*
 * The system's place is for a daemon that may write there, such as a service with RuntimeDirectory=; otherwise the
 * user's own.
 */
static int default_socket(char *ret, size_t size)
{
	char own[sizeof(((struct daemon *)NULL)->socket_path)];
	int r = socket_path_default(ret, size);

	if (r < 0 || socket_path_own(own, sizeof(own)) < 0 || access("/run/pagefuse", W_OK) == 0)
		return r;
	strcpy(ret, own);
	return 0;
}

static int choose_socket(struct daemon *daemon, const char *wanted)
{
	const size_t size = sizeof(daemon->socket_path);
	int r = 0;

	if (wanted == NULL)
		r = default_socket(daemon->socket_path, size);
	else if (*wanted == 0 || strlen(wanted) >= size)
		r = -ENAMETOOLONG;
	else
		strcpy(daemon->socket_path, wanted);
	if (r < 0)
		log_error("the path \"%s\" cannot be a socket's: it has to have 1 to %zu bytes; use --socket",
			  wanted ? wanted : "$PAGEFUSE_SOCKET or $XDG_RUNTIME_DIR/pagefuse/pagefused.sock", size - 1);
	return r;
}

static bool is_default_socket(const struct daemon *daemon)
{
	char usual[sizeof(daemon->socket_path)];

	return default_socket(usual, sizeof(usual)) == 0 && strcmp(usual, daemon->socket_path) == 0;
}

/* The directory of a socket at its default place is ours to make and remove. @return the directory, or NULL. */
static char *socket_directory(const struct daemon *daemon)
{
	const char *slash = strrchr(daemon->socket_path, '/');

	if (!is_default_socket(daemon) || slash == NULL || slash == daemon->socket_path)
		return NULL;
	return strndup(daemon->socket_path, (size_t)(slash - daemon->socket_path));
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* The directory for files that outlive a daemon of this user, or of the system. @return as snprintf(). */
static int default_vms(char *ret, size_t size)
{
	const char *service = variable("STATE_DIRECTORY"), *user = variable("XDG_STATE_HOME"), *home = variable("HOME");

	if (service)
		return snprintf(ret, size, "%.*s/" VMS_FILE, (int)strcspn(service, ":"), service);
	if (geteuid() == 0)
		return snprintf(ret, size, "/var/lib/pagefuse/" VMS_FILE);
	if (user)
		return snprintf(ret, size, "%s/pagefuse/" VMS_FILE, user);
	if (home)
		return snprintf(ret, size, "%s/.local/state/pagefuse/" VMS_FILE, home);
	log_info("without $HOME, what modifyvm says of VMs is forgotten when pagefused ends; use --vms");
	return 0;
}

/* Whether it is the one daemon of this user, or of the system, that clients find without a socket name. */
static bool is_usual_socket(const struct daemon *daemon)
{
	char usual[sizeof(daemon->socket_path)];

	if (socket_path_usual(usual, sizeof(usual)) == 0 && strcmp(usual, daemon->socket_path) == 0)
		return true;
	return socket_path_own(usual, sizeof(usual)) == 0 && strcmp(usual, daemon->socket_path) == 0;
}

/* A daemon with a socket of its own has it beside that socket, so no two daemons have the same. */
static int choose_vms(struct daemon *daemon, const char *wanted)
{
	const size_t size = sizeof(daemon->kept_path);
	int length;

	if (wanted)
		length = snprintf(daemon->kept_path, size, "%s", wanted);
	else if (is_usual_socket(daemon))
		length = default_vms(daemon->kept_path, size);
	else
		length = snprintf(daemon->kept_path, size, "%s." VMS_FILE, daemon->socket_path);
	if (length < (int)size && (wanted == NULL || *wanted != 0))
		return 0;
	log_error("the path \"%s\" cannot be a file's: it has to have 1 to %zu bytes; use --vms", wanted ? wanted : "",
		  size - 1);
	return -ENAMETOOLONG;
}

/* The output file that `pagefuse run` gave a private daemon: not needed after a clean exit. */
static void remove_log(const struct daemon *daemon)
{
	char path[sizeof(daemon->socket_path) + sizeof(".log")];
	struct stat ours, there;

	snprintf(path, sizeof(path), "%s.log", daemon->socket_path);
	if (fstat(STDERR_FILENO, &ours) == 0 && lstat(path, &there) == 0 && S_ISREG(there.st_mode) &&
	    ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
		(void)unlink(path);
}

static int read_settings(struct daemon *daemon, const char *path)
{
	char error[512];
	int r = config_load(&daemon->config, path, error, sizeof(error));

	daemon->config_path = path;
	if (r < 0)
		log_error("%s", error);
	return r;
}

static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_max < DESCRIPTORS_WANTED) {
		const struct rlimit wanted = { .rlim_cur = DESCRIPTORS_WANTED, .rlim_max = DESCRIPTORS_WANTED };

		if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
			return;
		log_info("not allowed to open more than %lu files: that bounds the number of VMs",
			 (unsigned long)limit.rlim_max);
	}
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int on_ending_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
	(void)source;
	(void)info;
	(void)sd_notify(0, "STOPPING=1");
	daemon_end(user);
	return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
	(void)source;
	(void)info;
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_usec());
	daemon_reload(user);
	(void)sd_notify(0, "READY=1");
	return 0;
}

static int watch_signals(struct daemon *daemon)
{
	static const struct {
		int number;
		sd_event_signal_handler_t handler;
	} signals[] = {
		{ SIGTERM, on_ending_signal },
		{ SIGINT, on_ending_signal },
		{ SIGHUP, on_hangup },
	};
	sigset_t set;
	int r = 0;

	sigemptyset(&set);
	for (unsigned i = 0; i < 3; i++)
		sigaddset(&set, signals[i].number);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; r >= 0 && i < 3; i++)
		r = sd_event_add_signal(daemon->event, NULL, signals[i].number, signals[i].handler, daemon);
	return r;
}

static int make_directory(const char *directory, const char *socket_path)
{
	int r;

	if (mkdir(directory, 0700) == 0 && geteuid() == 0)
		(void)chmod(directory, 0755); /* whatever the umask */
	r = socket_path_make_directory(socket_path);
	if (r < 0)
		log_error("cannot use the directory %s: %s; name a socket in one of your own with --socket", directory,
			  r == -EPERM ? "it has to belong to this user alone" : strerror(-r));
	return r;
}

static int run(struct daemon *daemon)
{
	int r = daemon_start(daemon);

	if (r == 0)
		r = daemon_listen(daemon);
	if (r < 0)
		return r;
	log_notice("serving VMs on %s, pages are kept in a %s", daemon->socket_path,
		   store_kind_name(SLIST_FIRST(&daemon->domains.list)->store));
	(void)sd_notify(0, "READY=1");
	r = turn_loop(daemon->event);
	if (r < 0)
		log_error("the event loop failed: %s", strerror(-r));
	return r;
}

int main(int argc, char **argv)
{
	static struct daemon daemon;
	struct options options;
	char *directory;
	int r = parse_options(argc, argv, &options);

	if (r >= 0)
		return r;
	log_open();
	umask(0077);
	if (choose_socket(&daemon, options.socket) < 0 || choose_vms(&daemon, options.vms) < 0)
		return EXIT_USAGE;
	if (read_settings(&daemon, options.config) < 0)
		return EXIT_FAILED;
	daemon.private = options.private;
	raise_limits();
	r = sd_event_new(&daemon.event);
	if (r >= 0)
		r = watch_signals(&daemon);
	if (r < 0) {
		log_error("cannot set up the event loop: %s", strerror(-r));
		return EXIT_FAILED;
	}
	(void)sd_event_set_watchdog(daemon.event, true);
	directory = socket_directory(&daemon);
	if (directory && make_directory(directory, daemon.socket_path) < 0)
		return EXIT_FAILED;
	r = run(&daemon);
	daemon_stop(&daemon);
	sd_event_unref(daemon.event);
	if (r >= 0 && daemon.private)
		remove_log(&daemon);
	if (directory)
		(void)rmdir(directory); /* fails as long as anything is in it */
	free(directory);
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
