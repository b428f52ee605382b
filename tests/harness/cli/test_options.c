/* Options: every way to write one, @FILE, --help, and the one-line errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/cli/options.h"

/* What the options were given, as text: "model=x quiet ". */
struct log {
	char text[4096];
	const char *kept; /* the last value, to be read after parsing */
	int ngl;
};

static void log_add(struct log *l, const char *name, const char *value)
{
	size_t n = strlen(l->text);
	snprintf(l->text + n, sizeof l->text - n, value ? "%s=%s;" : "%s;", name, value);
	l->kept = value;
}

static int apply_model(void *ctx, const char *value, struct error *err)
{
	(void)err;
	log_add(ctx, "model", value);
	return 0;
}

static int apply_mode(void *ctx, const char *value, struct error *err)
{
	log_add(ctx, "mode", value);
	return strcmp(value, "bad") == 0 ? error_set(err, ERROR_INPUT, "'%s' is no mode", value) : 0;
}

static int apply_quiet(void *ctx, const char *value, struct error *err)
{
	(void)err;
	assert_null(value);
	log_add(ctx, "quiet", value);
	return 0;
}

static int apply_layers(void *ctx, const char *value, struct error *err)
{
	struct log *l = ctx;
	log_add(l, "ngl", value);
	return options_int(value, "layers", -1, 999, &l->ngl, err);
}

static int apply_prompt(void *ctx, const char *value, struct error *err)
{
	(void)ctx;
	int unused;
	return options_int(value, "-p", 0, 10, &unused, err);
}

static int positional(void *ctx, const char *value, struct error *err)
{
	(void)err;
	log_add(ctx, "", value);
	return 0;
}

static const struct option_spec table[] = {
	{"-m, --model", "FILE", "the model", apply_model},
	{"-ngl, --n-gpu-layers", "N", "layers on the GPU; -1: all", apply_layers},
	{"-p, --n-prompt", "N", "prompt tokens", apply_prompt},
	{"--mode", "LIST",
	 "execution modes, of which there are several, so that this text does not fit into one line of help:\n"
	 "  direct         every kernel is launched\n"
	 "  graph-device   one replay",
	 apply_mode},
	{"--quiet", NULL, "say less", apply_quiet},
	{"--a-name-that-is-longer-than-the-column", "SOMETHING", "help of the long name", apply_mode},
	{0},
};

static const struct command command = {
	.name = "bench",
	.summary = "measure",
	.usage = "gemmark bench -m FILE [options]",
	.examples = "gemmark bench -m a.gguf   # one\n  gemmark bench -m b.gguf   # two\n",
	.options = table,
	.positional = positional,
};

enum { ARGS_MAX = 16 };

/* Parses the words up to a null pointer, as if typed. */
static int parse_with(const struct command *c, struct log *l, struct error *err, const char *const *words)
{
	static char name[] = "bench";
	char *argv[ARGS_MAX + 2] = {name};
	int argc = 1;
	for (; words[argc - 1]; argc++) {
		assert_in_range(argc, 1, ARGS_MAX);
		argv[argc] = (char *)words[argc - 1];
	}
	*l = (struct log){0};
	*err = (struct error){{0}};
	return options_parse(c, argc, argv, l, err);
}

#define parse(l, err, ...) parse_with(&command, l, err, (const char *const[]){__VA_ARGS__, NULL})

#define assert_error(expected, ...)                                \
	do {                                                       \
		struct log log_;                                   \
		struct error err_;                                 \
		assert_true(parse(&log_, &err_, __VA_ARGS__) < 0); \
		assert_string_equal(err_.text, expected);          \
	} while (0)

#define assert_parsed(expected, ...)                          \
	do {                                                  \
		struct log log_;                              \
		struct error err_;                            \
		int code_ = parse(&log_, &err_, __VA_ARGS__); \
		assert_string_equal(err_.text, "");           \
		assert_int_equal(code_, 0);                   \
		assert_string_equal(log_.text, expected);     \
	} while (0)

static void forms(void **state)
{
	(void)state;
	assert_parsed("model=a;", "-m", "a");
	assert_parsed("model=a;", "--m", "a");
	assert_parsed("model=a;", "-model", "a");
	assert_parsed("model=a;", "--model=a");
	assert_parsed("model=a=b;", "-m=a=b");
	assert_parsed("model=;", "--model=");
	assert_parsed("model=;", "--model", "");
	assert_parsed("quiet;", "-quiet");
	assert_parsed("mode=a;mode=b;mode=c;", "--mode", "a", "--mode=b", "-mode", "c");
	assert_parsed("=x;quiet;=-;=y;", "x", "--quiet", "-", "y");
	assert_parsed("quiet;=--quiet;=-m;=--;=@x;", "--quiet", "--", "--quiet", "-m", "--", "@x");
	/* A value may begin with a dash, as long as it is no option. */
	assert_parsed("ngl=-1;quiet;", "-ngl", "-1", "--quiet");
	assert_parsed("model=-;", "-m", "-");
	assert_parsed("model=--quiet;", "-m=--quiet");
}

static void errors(void **state)
{
	(void)state;
	assert_error("unknown option --mdoe (did you mean --mode?)", "--mdoe", "direct");
	assert_error("unknown option --mdoe (did you mean --mode?)", "--mdoe=direct");
	assert_error("unknown option --quite (did you mean --quiet?)", "--quite");
	assert_error("unknown option -hlep (did you mean --help?)", "-hlep");
	assert_error("unknown option --n-gpu (did you mean --n-gpu-layers?)", "--n-gpu", "3");
	assert_error("unknown option -x (gemmark bench --help lists them)", "-x");
	assert_error("unknown option --nothing-like-it (gemmark bench --help lists them)", "--nothing-like-it");
	assert_error("unknown option ---model (did you mean --model?)", "---model", "x");
	assert_error("option -m needs a value: FILE", "--quiet", "-m");
	assert_error("option -m needs a value: FILE (--quiet is an option; -m=--quiet would make it the value)", "-m",
		     "--quiet");
	assert_error("option -m needs a value: FILE (--mode=x is an option; -m=--mode=x would make it the value)", "-m",
		     "--mode=x");
	assert_error("option --quiet takes no value, but got 'yes'", "--quiet=yes");
	assert_error("--mode: 'bad' is no mode", "--mode", "bad");
	assert_error("--mode: 'bad' is no mode", "--mode=bad");
	assert_error("-ngl: layers: '1000' is not a whole number from -1 to 999", "-ngl", "1000");
	/* Named once where the message begins with the option already. */
	assert_error("-p: '11' is not a whole number from 0 to 10", "-p", "11");

	struct command without = command;
	without.positional = NULL;
	struct log l;
	struct error err;
	const char *const words[] = {"extra", NULL};
	assert_int_equal(parse_with(&without, &l, &err, words), ERROR_INPUT);
	assert_string_equal(err.text, "unexpected argument 'extra' (gemmark bench --help tells what is taken)");

	/* A word longer than the buffers for names. */
	char word[1000];
	memset(word, 'x', sizeof word);
	memcpy(word, "--", 2);
	word[sizeof word - 1] = 0;
	assert_int_equal(parse(&l, &err, word), ERROR_INPUT);
	assert_non_null(strstr(err.text, "unknown option --xxx"));
}

static void integers(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int ok, value;
	} cases[] = {
		{"0", 1, 0},   {"10", 1, 10},        {"-5", 1, -5}, {"+3", 1, 3},
		{"007", 1, 7}, {"11", 0, 0},         {"-6", 0, 0},  {"", 0, 0},
		{" 1", 0, 0},  {"1 ", 0, 0},         {"1x", 0, 0},  {"0x1", 0, 0},
		{"1.5", 0, 0}, {"-", 0, 0},          {"1e1", 0, 0}, {"99999999999999999999", 0, 0},
		{"\t1", 0, 0}, {"4294967296", 0, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int value = 12345;
		struct error err = {{0}};
		int code = options_int(cases[i].text, "depth", -5, 10, &value, &err);
		if ((code == 0) != cases[i].ok || (code == 0 && value != cases[i].value))
			fail_msg("'%s': code %d, value %d", cases[i].text, code, value);
		if (code) {
			char expected[128];
			snprintf(expected, sizeof expected, "depth: '%s' is not a whole number from -5 to 10",
				 *cases[i].text == '\t' ? "\\t1" : cases[i].text);
			assert_string_equal(err.text, expected);
			assert_int_equal(value, 12345);
		}
	}
}

static void nearest(void **state)
{
	(void)state;
	static const char *const modes[] = {"direct", "graph-params", "graph-update", "graph-device"};
	assert_string_equal(options_nearest("dierct", modes, 4), "direct");
	assert_string_equal(options_nearest("DIRECT", modes, 4), "direct");
	assert_string_equal(options_nearest("graph-parms", modes, 4), "graph-params");
	assert_string_equal(options_nearest("graph_update", modes, 4), "graph-update");
	assert_string_equal(options_nearest("gra", modes, 4), "graph-params");
	assert_null(options_nearest("loop", modes, 4));
	assert_null(options_nearest("", modes, 4));
	assert_null(options_nearest("direct", modes, 0));
	/* The nearer of two, not the first. */
	static const char *const near[] = {"bunch", "bench"};
	assert_string_equal(options_nearest("bencn", near, 2), "bench");
	/* Letters of one-letter options are not near each other. */
	static const char *const letters[] = {"-m", "-n"};
	assert_null(options_nearest("-x", letters, 2));
}

/* ---- @FILE ---- */

struct files {
	char folder[64], before[4096];
};

static int files_setup(void **state)
{
	struct files *f = calloc(1, sizeof *f);
	if (!f || !getcwd(f->before, sizeof f->before))
		return -1;
	snprintf(f->folder, sizeof f->folder, "/tmp/gemmark-options-XXXXXX");
	*state = f;
	return mkdtemp(f->folder) && chdir(f->folder) == 0 ? 0 : -1;
}

static int files_teardown(void **state)
{
	struct files *f = *state;
	char command_line[128];
	int code = chdir(f->before);
	snprintf(command_line, sizeof command_line, "rm -rf '%s'", f->folder);
	code |= system(command_line);
	free(f);
	return code;
}

static void write_bytes(const char *path, const char *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void write_text(const char *path, const char *text)
{
	write_bytes(path, text, strlen(text));
}

static void response_files(void **state)
{
	(void)state;
	write_text("a", "# a comment\n--mode direct   # another\n\n\t-m \"a b\".gguf\r\n--quiet");
	assert_parsed("mode=direct;model=a b.gguf;quiet;=x;", "@a", "x");
	/* Its words stand where it stood: the first is the value. */
	write_text("value", "direct --quiet");
	assert_parsed("mode=direct;quiet;", "--mode", "@value");
	assert_parsed("mode=@value;", "--mode=@value");
	assert_parsed("=@;", "@");
	write_text("quotes", "'single # \"x\" \\' \"two \\\" \\\\ \\n\" in'si'de a#b \"\" ''\n");
	assert_parsed("=single # \"x\" \\;=two \" \\ \\n;=inside;=a#b;=;=;", "@quotes");
	write_text("empty", "");
	write_text("comment", "   # nothing");
	assert_parsed("quiet;", "@empty", "@comment", "--quiet");
}

static void response_nesting(void **state)
{
	(void)state;
	write_text("inner", "--mode two\n");
	write_text("outer", "--mode one\n@inner\n--mode three\n");
	assert_parsed("mode=one;mode=two;mode=three;quiet;", "@outer", "--quiet");
	/* What ends options in a file ends them behind it too, and the reading of files. */
	write_text("end", "--quiet -- @inner");
	assert_parsed("quiet;=@inner;=--quiet;", "@end", "--quiet");
	write_text("loop", "\n@loop");
	assert_error("loop:2: @loop: option files nested more than 8 deep (does one name itself?)", "@loop");
	/* Eight deep is fine: 1 names 2 ... names 8. */
	for (int i = 1; i < 8; i++) {
		char path[8], text[16];
		snprintf(path, sizeof path, "%d", i);
		snprintf(text, sizeof text, "@%d", i + 1);
		write_text(path, text);
	}
	write_text("8", "--quiet");
	assert_parsed("quiet;", "@1");
	/* Sixteen names of a file of sixteen names, and so on: bounded. */
	for (int i = 1; i < 8; i++) {
		char path[8], text[128] = "";
		snprintf(path, sizeof path, "%d", i);
		for (int j = 0; j < 16; j++)
			snprintf(text + strlen(text), sizeof text - strlen(text), "@%d ", i + 1);
		write_text(path, text);
	}
	struct log l;
	struct error err;
	assert_int_equal(parse(&l, &err, "@1"), ERROR_INPUT);
	assert_non_null(strstr(err.text, "more than 256 option files"));
	enum { WORDS = 65536 };
	char *many = malloc(2 * WORDS + 2);
	assert_non_null(many);
	for (int i = 0; i <= WORDS; i++)
		memcpy(many + 2 * (size_t)i, i == WORDS ? "b\n" : "a\n", 2);
	write_bytes("many", many, 2 * WORDS);
	assert_int_equal(parse(&l, &err, "@many"), 0);
	write_bytes("many", many, 2 * WORDS + 2);
	assert_error("many:65537: option files hold more than 65536 words in all", "@many");
	free(many);
}

static void response_errors(void **state)
{
	(void)state;
	assert_error("cannot open nowhere: No such file or directory; name a file of arguments", "@nowhere");
	write_text("names", "--quiet\n\n@nowhere\n");
	assert_error("names:3: cannot open nowhere: No such file or directory; name a file of arguments", "@names");
	assert_error("cannot read .: Is a directory", "@.");
	write_text("unknown", "--quiet\n--mdoe x\n");
	assert_error("unknown:2: unknown option --mdoe (did you mean --mode?)", "@unknown");
	write_text("bad", "\n\n\n--mode bad");
	assert_error("bad:4: --mode: 'bad' is no mode", "@bad");
	write_text("value_missing", "--quiet\n-m");
	assert_error("value_missing:2: option -m needs a value: FILE", "@value_missing");
	write_text("open", "--quiet\n-m \"a b\n--mode c\"\n");
	assert_error("open:2: a quote is not closed", "@open");
	write_bytes("null", "--quiet\0x", 9);
	assert_error("null is not text: it holds a null byte", "@null");
	size_t n = (1 << 20) + 1;
	char *big = malloc(n);
	assert_non_null(big);
	memset(big, ' ', n);
	write_bytes("big", big, n);
	assert_error("big is longer than the 1048576 bytes that an option file may have", "@big");
	write_bytes("big", big, n - 1);
	assert_parsed("quiet;", "@big", "--quiet");
	free(big);
}

/* Commands keep pointers to values, as they do to argv's. */
static void values_outlive_parsing(void **state)
{
	(void)state;
	struct log l;
	struct error err;
	write_text("keep", "-m kept.gguf");
	assert_int_equal(parse(&l, &err, "@keep"), 0);
	const char *kept = l.kept;
	write_text("other", "-m another-one.gguf");
	assert_int_equal(parse(&l, &err, "@other"), 0);
	assert_string_equal(kept, "kept.gguf");
}

/* ---- help ---- */

/* Runs the parser with standard output going to a file, and returns what was written. */
static char *help_of(int *code, struct log *l, const char *const *words)
{
	static char text[8192];
	struct error err;
	fflush(stdout);
	int out = dup(STDOUT_FILENO);
	FILE *f = tmpfile();
	assert_non_null(f);
	assert_true(out >= 0 && dup2(fileno(f), STDOUT_FILENO) >= 0);
	*code = parse_with(&command, l, &err, words);
	fflush(stdout);
	assert_true(dup2(out, STDOUT_FILENO) >= 0);
	close(out);
	rewind(f);
	size_t n = fread(text, 1, sizeof text - 1, f);
	text[n] = 0;
	fclose(f);
	return text;
}

static void help(void **state)
{
	(void)state;
	static const char expected[] =
		"usage: gemmark bench -m FILE [options]\n"
		"\n"
		"measure\n"
		"\n"
		"options:\n"
		"  -m, --model FILE        the model\n"
		"  -ngl, --n-gpu-layers N  layers on the GPU; -1: all\n"
		"  -p, --n-prompt N        prompt tokens\n"
		"  --mode LIST             execution modes, of which there are several, so that this text does\n"
		"                          not fit into one line of help:\n"
		"                            direct         every kernel is launched\n"
		"                            graph-device   one replay\n"
		"  --quiet                 say less\n"
		"  --a-name-that-is-longer-than-the-column SOMETHING\n"
		"                          help of the long name\n"
		"  -h, --help              print this help and exit\n"
		"\n"
		"One dash or two; --name VALUE or --name=VALUE; @FILE reads arguments from a file.\n"
		"Of an option given again the last value counts, unless the help says that it may be repeated.\n"
		"\n"
		"examples:\n"
		"  gemmark bench -m a.gguf   # one\n"
		"  gemmark bench -m b.gguf   # two\n";
	static const char *const asked[][4] = {
		{"--help"},         {"-h"},       {"-help"}, {"--mode", "bad", "--help"}, {"--nonsense", "-h"},
		{"@nowhere", "-h"}, {"-m", "-h"},
	};
	for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		struct log l;
		int code;
		const char *text = help_of(&code, &l, asked[i]);
		assert_int_equal(code, 1);
		assert_string_equal(text, expected);
		assert_string_equal(l.text, ""); /* nothing was applied */
	}
	assert_parsed("=--help;", "--", "--help");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(errors),
		cmocka_unit_test(integers),
		cmocka_unit_test(nearest),
		cmocka_unit_test_setup_teardown(response_files, files_setup, files_teardown),
		cmocka_unit_test_setup_teardown(response_nesting, files_setup, files_teardown),
		cmocka_unit_test_setup_teardown(response_errors, files_setup, files_teardown),
		cmocka_unit_test_setup_teardown(values_outlive_parsing, files_setup, files_teardown),
		cmocka_unit_test(help),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
