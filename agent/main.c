/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse-agent: in a guest, names pages that are worth sharing to the host. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/dry-run.h"
#include "agent/pagemap.h"
#include "agent/session.h"

#define PORT_PATH "/dev/virtio-ports/" AGENT_PORT
#define EXIT_USAGE 2

struct options {
	const char *config, *port, *root;
	bool is_dry_run, is_json;
};

static void usage(void)
{
	printf("Usage: pagefuse-agent [--config FILE] [--port PATH] [--dry-run [--json]]\n"
	       "\n"
	       "Runs in a guest, as root, and names to the host what memory is worth sharing with other guests: the\n"
	       "kernel, programs, and what is cached of files that everybody may read.\n"
	       "\n"
	       "  --config FILE  read settings from there instead of " CONFIG_PATH "\n"
	       "  --port PATH    talk to the host there instead of " PORT_PATH ";\n"
	       "                 a virtio-serial port or a UNIX socket\n"
	       "  --dry-run      show what would be named, and end\n"
	       "  --json         the same for programs, with page frames\n"
	       "  --root FOLDER  read /proc/iomem and processes below FOLDER; for tests\n"
	       "  --help         this text\n"
	       "  --version      the version\n"
	       "\n"
	       "Settings, lines \"name = value\" in the file:\n");
	config_describe(stdout);
}

/* @return -1 to go on, or an exit status. */
static int parse(int argc, char **argv, struct options *ret)
{
	static const struct option long_options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "port", required_argument, NULL, 'p' },
		{ "root", required_argument, NULL, 'r' },
		{ "dry-run", no_argument, NULL, 'd' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	int option;

	*ret = (struct options){ .port = PORT_PATH, .root = "" };
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			ret->config = optarg;
			break;
		case 'p':
			ret->port = optarg;
			break;
		case 'r':
			ret->root = optarg;
			break;
		case 'd':
			ret->is_dry_run = true;
			break;
		case 'j':
			ret->is_json = true;
			break;
		case 'h':
			usage();
			return 0;
		case 'v':
			puts("pagefuse-agent " PAGEFUSE_VERSION);
			return 0;
		default: /* getopt has said what is wrong */
			fprintf(stderr, "See pagefuse-agent --help\n");
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "pagefuse-agent: unexpected argument '%s'; see pagefuse-agent --help\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (ret->is_json && !ret->is_dry_run) {
		fprintf(stderr, "pagefuse-agent: '--json' goes with '--dry-run' only\n");
		return EXIT_USAGE;
	}
	return -1;
}

static int read_iomem(const char *root, struct iomem *ret)
{
	char path[PATH_MAX];
	unsigned line;
	FILE *file;
	int r;

	snprintf(path, sizeof(path), "%s/proc/iomem", root);
	file = fopen(path, "re");
	if (file == NULL) {
		r = -errno;
		fprintf(stderr, "pagefuse-agent: cannot read %s: %s\n", path, strerror(-r));
		return r;
	}
	r = iomem_read(file, ret, &line);
	fclose(file);
	if (r == -EPERM)
		fprintf(stderr, "pagefuse-agent: %s shows no addresses: this needs root (CAP_SYS_ADMIN)\n", path);
	else if (r == -ENODATA)
		fprintf(stderr, "pagefuse-agent: there is no \"System RAM\" in %s\n", path);
	else if (r == -E2BIG)
		fprintf(stderr,
			"pagefuse-agent: %s:%u: more ranges than there is room for (%d of RAM, %d of the kernel)\n",
			path, line, AGENT_RAM_RANGES_MAX, IOMEM_KERNEL_MAX);
	else if (r < 0)
		fprintf(stderr, "pagefuse-agent: %s:%u: not \"START-END : NAME\" above the line before\n", path, line);
	return r;
}

/* @return a descriptor that can be read when the agent is to end. */
static int open_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int serve(const struct config *config, const struct iomem *iomem, int pagemap, const struct options *options)
{
	static struct session session;
	int signals = open_signals(), r;

	if (signals < 0)
		return -errno;
	r = session_init(&session, config, iomem, pagemap, signals);
	if (r == 0) {
		session.look.root = options->root;
		r = session_serve(&session, options->port);
		session_done(&session);
	}
	close(signals);
	return r;
}

int main(int argc, char **argv)
{
	static struct config config;
	static struct iomem iomem;
	struct options options;
	char error[1024];
	int pagemap, r = parse(argc, argv, &options);

	if (r >= 0)
		return r;
	config_default(&config);
	if (config_read(&config, options.config, error, sizeof(error)) < 0) {
		fprintf(stderr, "pagefuse-agent: %s\n", error);
		return EXIT_USAGE;
	}
	if (read_iomem(options.root, &iomem) < 0)
		return 1;
	pagemap = pagemap_open();
	if (pagemap < 0) {
		fprintf(stderr,
			"pagefuse-agent: /proc/self/pagemap shows no page frames: %s; this needs root "
			"(CAP_SYS_ADMIN)\n",
			strerror(-pagemap));
		return 1;
	}
	r = options.is_dry_run ? dry_run(&config, &iomem, pagemap, options.root, options.is_json, stdout)
			       : serve(&config, &iomem, pagemap, &options);
	if (r < 0)
		fprintf(stderr, "pagefuse-agent: %s\n", strerror(-r));
	return r < 0 ? 1 : 0;
}
