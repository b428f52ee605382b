#include "harness/cli/changed_file.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/output_file.h"
#include "engine/model/gguf.h"

/* For the handler; set before it is installed. */
static const char *watched_command, *watched_remedy = "run again when nobody writes it";
static bool on_terminal;
static volatile sig_atomic_t reporting;

static void put(char *line, size_t size, size_t *used, const char *text)
{
	for (; *text && *used < size; text++)
		line[(*used)++] = *text;
}

/* Calls what is async-signal-safe, nothing else. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
	char line[1024];
	size_t used = 0;
	(void)context;
	/* Sent by the kernel, about an address; otherwise it is no affair of ours, and comes again. */
	const char *path = info->si_code > 0 ? gguf_mapped_path(info->si_addr) : NULL;
	if (!path) {
		signal(number, SIG_DFL);
		raise(number);
		return;
	}
	/* One thread says it, whichever comes first. */
	while (__atomic_exchange_n(&reporting, 1, __ATOMIC_RELAXED))
		pause();
	/* Behind a progress line, if there is one. */
	if (on_terminal)
		put(line, sizeof line, &used, "\n");
	const char *const parts[] = {
		"gemmark ", watched_command, ": ", path, ": changed while it was read; ", watched_remedy, "\n"};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		put(line, sizeof line, &used, parts[i]);
	for (size_t at = 0; at < used;) {
		ssize_t n = write(STDERR_FILENO, line + at, used - at);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	output_file_abandon_all();
	_exit(2);
}

const char *changed_file_remedy(void)
{
	return watched_remedy;
}

void changed_file_watch(const char *command, const char *remedy)
{
	struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK)};
	watched_command = command;
	watched_remedy = remedy;
	on_terminal = isatty(STDERR_FILENO) == 1;
	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}
