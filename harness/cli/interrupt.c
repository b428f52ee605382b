#include "harness/cli/interrupt.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/output_file.h"

volatile sig_atomic_t interrupt_noted;

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
static const char *volatile ended_command;
static volatile bool on_terminal;

static void say(const char *text)
{
	for (size_t left = strlen(text); left;) {
		ssize_t n = write(STDERR_FILENO, text, left);
		if (n <= 0)
			return;
		text += n;
		left -= (size_t)n;
	}
}

static void end_now(int number)
{
	(void)number;
	output_file_abandon_all();
	if (on_terminal)
		say("\n"); /* behind a progress line, if there is one */
	say("gemmark");
	if (ended_command) {
		say(" ");
		say(ended_command);
	}
	say(": interrupted\n");
	_exit(EXIT_INTERRUPTED);
}

static void note(int number)
{
	static volatile sig_atomic_t since;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	/* Seconds fit: sig_atomic_t is an int, and this clock starts with the machine. */
	if (interrupt_noted && (int)now.tv_sec - since > 1) {
		signal(number, SIG_DFL);
		raise(number);
	} else if (!interrupt_noted) {
		since = (int)now.tv_sec;
		interrupt_noted = number;
	}
}

static void handle(void (*handler)(int))
{
	struct sigaction a = {.sa_handler = handler, .sa_flags = (int)SA_RESTART}, was;
	sigemptyset(&a.sa_mask);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		sigaddset(&a.sa_mask, numbers[i]);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		/* nohup, a job of a script's background: who started it does not want it to end by that. */
		if (!sigaction(numbers[i], NULL, &was) && was.sa_handler == SIG_IGN)
			continue;
		sigaction(numbers[i], &a, NULL);
	}
}

void interrupt_ends(const char *command)
{
	ended_command = command;
	on_terminal = isatty(STDERR_FILENO) == 1;
	handle(end_now);
}

void interrupt_is_noted(void)
{
	handle(note);
}
