/*
 * The program: picks the subcommand, and makes sure at the end that what it printed
 * arrived. Everything else is in cmd_NAME.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/output_file.h"
#include "base/text.h"
#include "harness/cli/changed_file.h"
#include "harness/cli/interrupt.h"
#include "harness/cli/options.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{"bench", cmd_bench, "sweep a model over depths, modes and fusion; write CSV"},
	{"status", cmd_status, "how far a sweep is, while it runs or when it has ended"},
	{"merge", cmd_merge, "one results directory of the shards of a sweep, from one machine or many"},
	{"compare", cmd_compare, "two result sets: what changed, how sure that is, an exit code for CI"},
	{"plot", cmd_plot, "draw a results directory as SVG and PNG"},
	{"report", cmd_report, "what a sweep found, or what changed, as Markdown or HTML"},
	{"history", cmd_history, "what every commit measured, and when that changed"},
	{"model", cmd_model, "make a synthetic GGUF file, or show what a file holds"},
	{"eval", cmd_eval, "teacher-forced logits of a token list, perplexity, hash"},
	{"generate", cmd_generate, "text behind a prompt, as it comes, and its rates"},
	{"quality", cmd_quality, "what KV eviction does to a trained model, by policy and budget"},
	{"selftest", cmd_selftest, "how often the verdicts are wrong: false alarms, and misses"},
	{"env", cmd_env, "what this machine is, and its measured read bandwidth"},
	{"kernels", cmd_kernels, "compile the CUDA kernels; registers, shared memory, spills"},
};

enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static const char examples[] =
	"  gemmark model make --arch gemma4-e2b --type q8_0 --seed 1 -o e2b.gguf\n"
	"  gemmark bench -m e2b.gguf -n 32 -d 0,512,4096 --mode direct,graph-params,graph-device -r 3\n"
	"  gemmark plot results/20260101T120000Z-0123abc\n"
	"  gemmark help bench\n";

static void print_help(void)
{
	printf("usage: gemmark COMMAND [options]\n\n"
	       "When does replaying a graph beat launching kernels one by one, and by how much?\n"
	       "Runs a language model's decode step in several execution modes, and records every token.\n\n"
	       "commands:\n");
	for (int i = 0; i < N_COMMANDS; i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].summary);
	printf("  %-8s %s\n\n", "help", "gemmark help COMMAND: a command's options and examples");
	printf("options:\n"
	       "  -h, --help     print this help and exit\n"
	       "  --version      print the version and exit\n\n"
	       "examples:\n%s\n"
	       "exit codes: 0 done, or no worse; 1 a regression; 2 bad usage or input; 3 inconclusive; 4 wrong "
	       "results;\n            130 interrupted\n",
	       examples);
}

static int unknown_command(const char *word)
{
	const char *names[N_COMMANDS + 1] = {[N_COMMANDS] = "help"};
	for (int i = 0; i < N_COMMANDS; i++)
		names[i] = commands[i].name;
	const char *kind = word[0] == '-' ? "option" : "command";
	const char *nearest = word[0] == '-' ? NULL : options_nearest(word, names, N_COMMANDS + 1);
	struct text_shown shown = text_show(word, strlen(word));
	if (nearest)
		fprintf(stderr, "gemmark: unknown %s %s (did you mean %s?)\n", kind, shown.text, nearest);
	else
		fprintf(stderr, "gemmark: unknown %s %s (gemmark --help lists the commands)\n", kind, shown.text);
	return 2;
}

static bool is_option(const char *word, const char *name)
{
	return word[0] == '-' && strcmp(word + (word[1] == '-' ? 2 : 1), name) == 0;
}

static int run(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "gemmark: a command is missing (gemmark --help lists them)\n");
		return 2;
	}
	char help_word[] = "--help";
	bool help = strcmp(argv[1], "help") == 0;
	if (is_option(argv[1], "help") || is_option(argv[1], "h") || (help && argc == 2)) {
		print_help();
		return 0;
	}
	if (is_option(argv[1], "version")) {
		printf("gemmark %s\n", GEMMARK_VERSION);
		return 0;
	}
	/* gemmark help model make: asked as gemmark model make --help. */
	if (help) {
		for (int i = 1; i + 1 < argc; i++)
			argv[i] = argv[i + 1];
		argv[argc - 1] = help_word;
	}
	for (int i = 0; i < N_COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		interrupt_ends(commands[i].name);
		changed_file_watch(commands[i].name,
				   commands[i].run == cmd_bench
					   ? "finished runs are kept, and --resume goes on when the file is back"
					   : "run again when nobody writes it");
		return commands[i].run(argc - 1, argv + 1);
	}
	return unknown_command(argv[1]);
}

/*
 * A closed standard descriptor would be given to the next file that is opened, and prints
 * would land in it. Opened the wrong way round, /dev/null makes them fail instead.
 */
static int hold_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
			return -1;
	return 0;
}

/* Has the reader of standard output gone away, as after `| head`? */
static bool reader_left(void)
{
	struct pollfd p = {.fd = STDOUT_FILENO};
	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

int main(int argc, char **argv)
{
	interrupt_ends(NULL);
	if (hold_standard_descriptors() < 0)
		return 2;
	/* A sweep outlives the pager that showed its progress: writes fail instead of ending it. */
	signal(SIGPIPE, SIG_IGN);
	/* And the limit of a file's size: writes fail, with a message, and what is finished is kept. */
	signal(SIGXFSZ, SIG_IGN);
	int code = run(argc, argv);
	bool failed = ferror(stdout), left = reader_left();
	errno = 0;
	failed |= fclose(stdout) != 0;
	if (!failed || left)
		return code;
	int reason = errno;
	fprintf(stderr, "gemmark: cannot write to standard output: %s; %s\n",
		reason ? strerror(reason) : "a write failed", output_file_remedy(reason));
	/* Nobody has read a verdict that was not written; an interruption is one with or without it. */
	return code == EXIT_INTERRUPTED ? code : 2;
}
