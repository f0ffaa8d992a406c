#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: supervise.pl BASH [OPTIONS] SCRIPT [WORDS]
#
# Runs a script in a process group of its own, which the terminal's signals do not reach, and tells it to end: SIGINT as
# SIGUSR1, SIGQUIT as SIGTERM, SIGTERM and SIGHUP as they are. What the script waits for there gets the signal itself.
# Ctrl-Z stops the script, too. The exit status is the script's; that of a signal if the script did not listen yet. With
# this process the script dies.
use strict;
use warnings;
use POSIX qw(setpgid WNOHANG WIFEXITED WEXITSTATUS WTERMSIG SIGINT SIGQUIT SIGTERM SIGHUP SIGTSTP SIG_BLOCK SIG_UNBLOCK
	SIG_SETMASK);

my %passed_on = (INT => 'USR1', USR1 => 'USR1', QUIT => 'TERM', TERM => 'TERM', HUP => 'HUP');
my %number = (INT => SIGINT, USR1 => SIGINT, QUIT => SIGQUIT, TERM => SIGTERM, HUP => SIGHUP);
my ($script, $told, $status);

# Signals come while this process sleeps, and at no other time.
my ($all, $before) = (POSIX::SigSet->new, POSIX::SigSet->new);
$all->fillset;
POSIX::sigprocmask(SIG_BLOCK, $all, $before);
$script = fork;
defined $script or die "supervise.pl: fork: $!\n";
if ($script == 0) {
	setpgid(0, 0);
	# Whatever group the terminal is for, it can be written to; what reads from it fails.
	$SIG{TTOU} = $SIG{TTIN} = 'IGNORE';
	POSIX::sigprocmask(SIG_SETMASK, $before);
	$ENV{INTERRUPT_SUPERVISOR} = getppid . " $$";
	exec 'setpriv', '--pdeathsig', 'KILL', @ARGV;
	die "supervise.pl: setpriv: $!\n";
}
setpgid($script, $script);

sub pass_on {
	my ($name) = @_;
	my @others = grep { $_ != $script && (getpgrp($_) // 0) == $script } map { m{(\d+)} } glob '/proc/[0-9]*';

	$told //= $name;
	kill $passed_on{$name}, $script;
	kill $number{$name}, @others;
	kill 'CONT', -$script;
}

# Where nobody could have it go on, the kernel does not stop this process.
sub stop {
	my $stop = POSIX::SigSet->new(SIGTSTP);

	kill 'STOP', -$script;
	local $SIG{TSTP} = 'DEFAULT';
	kill 'TSTP', $$;
	POSIX::sigprocmask(SIG_UNBLOCK, $stop);
	POSIX::sigprocmask(SIG_BLOCK, $stop);
	kill 'CONT', -$script;
}

# What was ignored when this began is, as under nohup.
sub is_ignored { return ($SIG{$_[0]} // '') eq 'IGNORE' }
for my $name (grep { !is_ignored($_) } keys %passed_on) {
	$SIG{$name} = sub { pass_on($name) };
}
$SIG{TSTP} = \&stop unless is_ignored('TSTP');
$SIG{CHLD} = sub { };

# As the first process of a container it has others' children to wait for, too.
until (defined $status) {
	my $ended = waitpid(-1, WNOHANG);

	$status = $? if $ended == $script;
	POSIX::sigsuspend($before) if $ended <= 0;
}
POSIX::sigprocmask(SIG_SETMASK, $before);
exit WEXITSTATUS($status) if WIFEXITED($status);
exit 128 + $number{$told} if defined $told;
my $signal = WTERMSIG($status);
$SIG{$_} = 'DEFAULT' for keys %passed_on;
kill $signal, $$;
exit 128 + $signal;
