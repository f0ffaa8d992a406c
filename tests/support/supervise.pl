#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: supervise.pl BASH SCRIPT [WORDS]
#
# Runs a script in a process group of its own, which the terminal's Ctrl-C does not reach, and tells it to end: SIGINT
# as SIGUSR1, SIGTERM and SIGHUP as they are. Ctrl-Z stops the script, too. The exit status is the script's; that of a
# signal if the script did not listen yet. With this process the script dies.
use strict;
use warnings;
use POSIX qw(setpgid WNOHANG WIFEXITED WEXITSTATUS WTERMSIG SIGINT SIGTERM SIGHUP);

my %passed_on = (INT => 'USR1', TERM => 'TERM', HUP => 'HUP');
my %number = (INT => SIGINT, TERM => SIGTERM, HUP => SIGHUP);
my ($script, $told);

# Signals come while this process sleeps, and at no other time.
my ($all, $before) = (POSIX::SigSet->new, POSIX::SigSet->new);
$all->fillset;
POSIX::sigprocmask(POSIX::SIG_BLOCK, $all, $before);
$script = fork;
defined $script or die "supervise.pl: fork: $!\n";
if ($script == 0) {
	setpgid(0, 0);
	$SIG{TTOU} = 'IGNORE'; # it writes to the terminal, whatever group that is for
	POSIX::sigprocmask(POSIX::SIG_SETMASK, $before);
	$ENV{INTERRUPT_SUPERVISOR} = getppid;
	exec 'setpriv', '--pdeathsig', 'KILL', @ARGV;
	die "supervise.pl: setpriv: $!\n";
}
setpgid($script, $script);

for my $name (keys %passed_on) {
	next if ($SIG{$name} // '') eq 'IGNORE'; # as under nohup
	$SIG{$name} = sub {
		$told //= $name;
		kill $passed_on{$name}, $script;
	};
}
$SIG{TSTP} = sub {
	kill 'STOP', -$script;
	kill 'STOP', $$;
	kill 'CONT', -$script;
};
$SIG{CHLD} = sub { };
POSIX::sigsuspend($before) until waitpid($script, WNOHANG) == $script;
POSIX::sigprocmask(POSIX::SIG_SETMASK, $before);
exit WEXITSTATUS($?) if WIFEXITED($?);
exit 128 + $number{$told} if defined $told;
$SIG{$_} = 'DEFAULT' for keys %passed_on;
my $signal = WTERMSIG($?);
kill $signal, $$;
exit 128 + $signal;
