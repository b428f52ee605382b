/*
 * gemmark plot, with the real gnuplot, on results written here. The expected statistics are
 * worked out by hand from how the values are made; pictures are decoded by gnuplot's own
 * reader (libgd) and searched for the curves' colours.
 */
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/cli/options.h"
#include "harness/plot/plot.h"
#include "tests/support/check_xml.h"

#define RUNS_HEADER                                                                                                    \
	"submit_median_us,schema_version,run_id,status,reason,repetition,model,model_path_name,arch,weight_type,"      \
	"n_prompt,n_gen,n_depth,mode,fusion,n_gpu_layers,type_k,type_v,n_threads,device,commit,itl_median_us,started_" \
	"utc\n"
#define TOKENS_HEADER "run_id,phase,token_index,submit_us,itl_us,graph_event\n"

static char base[] = "/tmp/gemmark plot's $(touch pwned) \"test\" XXXXXX";
static char dir[256];
static const char *const all_modes[] = {"direct", "graph-params", "graph-update", "graph-device"};

struct seen {
	int n_paths, n_notes;
	char path[32][512], note[32][512];
};

static void on_path(void *ctx, const char *path)
{
	struct seen *s = ctx;
	assert_true(s->n_paths < 32);
	snprintf(s->path[s->n_paths++], sizeof s->path[0], "%s", path);
}

static void on_note(void *ctx, const char *line)
{
	struct seen *s = ctx;
	assert_true(s->n_notes < 32);
	snprintf(s->note[s->n_notes++], sizeof s->note[0], "%s", line);
}

static FILE *create(const char *name)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	return f;
}

static void write_file(const char *name, const char *bytes, size_t n)
{
	FILE *f = create(name);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static char *read_all(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		fail_msg("%s is not there", path);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	*n = (size_t)ftell(f);
	rewind(f);
	char *bytes = malloc(*n + 1);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, *n, f), *n);
	bytes[*n] = '\0';
	fclose(f);
	return bytes;
}

static int make_base(void **state)
{
	(void)state;
	return mkdtemp(base) ? 0 : -1;
}

static int make_dir(void **state)
{
	static int n;
	(void)state;
	snprintf(dir, sizeof dir, "%s/%d", base, n++);
	return mkdir(dir, 0777);
}

static int remove_base(void **state)
{
	(void)state;
	char *const argv[] = {"rm", "-rf", "--", base, NULL};
	pid_t child = fork();
	if (child == 0)
		_exit(execvp(argv[0], argv));
	int status = 1;
	return child < 0 || waitpid(child, &status, 0) != child || status;
}

/* Values of a made-up run: mode m, depth d, repetition r. Repetition 2 is the slowest, 0 the fastest. */
static double itl_of(int m, long d, int r)
{
	static const double offsets[] = {0, 10, 40}; /* uneven: their mean is not their median */
	return (5000.0 + (double)d) * (1.0 + 0.1 * m) + offsets[r];
}

static double submit_of(int m, int r)
{
	return 900.0 / (1 + 10 * m) + r * r;
}

struct sweep {
	const char *model, *device;
	int first_mode, n_modes, n_depths, n_fusions;
};

/*
 * 3 repetitions; 2 warm-up tokens of 50 times the latency, the first without itl; 11 measured ones
 * at itl - 5 .. itl + 5, in descending index order in the file.
 */
static void write_sweep(const struct sweep *s)
{
	static const long depths[] = {0, 128, 1024};
	static const char *const fusions[] = {"full", "none"};
	FILE *runs = create("runs.csv"), *tokens = create("tokens.csv");
	int id = 0;
	fputs(RUNS_HEADER, runs);
	fputs(TOKENS_HEADER, tokens);
	fprintf(runs, ",1,skip,skipped,\"no, it is not\",0,x,x,x,x,0,16,0,direct,full,0,f16,f16,2,x,x,,\n");
	fprintf(runs, ",1,pp,ok,,0,x,x,x,x,512,0,0,direct,full,0,f16,f16,2,x,x,,\n");
	for (int f = 0; f < s->n_fusions; f++)
		for (int k = 0; k < s->n_depths; k++)
			for (int r = 2; r >= 0; r--)
				for (int m = s->first_mode; m < s->first_mode + s->n_modes; m++, id++) {
					double itl = itl_of(m, depths[k], r) * (1 + f), submit = submit_of(m, r);
					fprintf(runs,
						"%.6f,1,r%d,ok,,%d,\"%s\",m.gguf,gemma4,Q8_0,0,11,%ld,%s,%s,0,f16,q8_0,"
						"2,"
						"\"%s\",d4ce5da,%.6f,2026-11-22T18:13:13Z\n",
						submit, id, r, s->model, depths[k], all_modes[m], fusions[f], s->device,
						itl);
					for (int t = 10; t >= 0; t--)
						fprintf(tokens, "r%d,measure,%d,%.6f,%.6f,%s\n", id, t, submit,
							itl - 5 + t,
							m == 0   ? "direct"
							: t == 7 ? "capture"
								 : "replay");
					fprintf(tokens, "r%d,warmup,1,%.6f,%.6f,direct\n", id, submit, 50 * itl);
					fprintf(tokens, "r%d,warmup,0,%.6f,,direct\n", id, submit);
				}
	fputs("unknown,warmup,0,1,1,direct\n", tokens);
	assert_int_equal(fclose(runs), 0);
	assert_int_equal(fclose(tokens), 0);
}

static const struct sweep usual = {"Gemma 4 E4B", "Xeon", 0, 4, 3, 1};

static int plot(struct seen *seen, unsigned formats, const char *gnuplot, int timeout_s, struct error *err)
{
	memset(seen, 0, sizeof *seen);
	struct plot_request request = {.dir = dir,
				       .formats = formats,
				       .gnuplot = gnuplot,
				       .timeout_s = timeout_s,
				       .wrote = on_path,
				       .note = on_note,
				       .ctx = seen};
	return plot_results(&request, err);
}

static void plot_well(struct seen *seen)
{
	struct error err = {0};
	if (plot(seen, PLOT_FORMAT_SVG | PLOT_FORMAT_PNG, "gnuplot", 60, &err))
		fail_msg("%s", err.text);
}

/* A row of a .dat: the block's mode, and the 8 columns. Fails when it is absent. */
static void find_row(const char *name, const char *mode, long depth, double row[8])
{
	char path[512], line[512], current[64] = "";
	snprintf(path, sizeof path, "%s/plots/%s", dir, name);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "# %63s", current) == 1 || line[0] == '\n')
			continue;
		char *at = line;
		for (int i = 0; i < 8; i++)
			row[i] = strtod(at, &at);
		if (!strcmp(current, mode) && row[1] == (double)depth) {
			fclose(f);
			return;
		}
	}
	fclose(f);
	fail_msg("%s has no row for %s at %ld", name, mode, depth);
}

static void near(double value, double expected)
{
	if (!(fabs(value - expected) <= 1e-6 * fabs(expected) + 1e-9))
		fail_msg("%.9g instead of %.9g", value, expected);
}

static void aggregates_are_right(void **state)
{
	(void)state;
	struct seen seen;
	double row[8];
	write_sweep(&usual);
	plot_well(&seen);
	assert_int_equal(seen.n_paths, 8);
	assert_int_equal(seen.n_notes, 1);
	assert_non_null(strstr(seen.note[0], "1 rows"));

	for (int m = 0; m < 4; m++) {
		static const long depths[] = {0, 128, 1024};
		for (int k = 0; k < 3; k++) {
			find_row("latency.dat", all_modes[m], depths[k], row);
			near(row[2], 3);
			near(row[3], itl_of(m, depths[k], 1));
			near(row[4], itl_of(m, depths[k], 0));
			near(row[5], itl_of(m, depths[k], 2));
			/*
			 * Tokens about the middle run: -15..-5, -5..5 and 25..35, in steps of 1. Rank 3.2 of
			 * 0..32 is -15 + 3.2; rank 28.8 is 25 + 6.8.
			 */
			near(row[6], itl_of(m, depths[k], 1) - 11.8);
			near(row[7], itl_of(m, depths[k], 1) + 31.8);
			find_row("submit.dat", all_modes[m], depths[k], row);
			near(row[3], submit_of(m, 1));
			near(row[4], submit_of(m, 0));
			near(row[5], submit_of(m, 2));
			if (!m)
				continue;
			/* The ratio falls as the same offset is added to both sides. */
			find_row("overhead.dat", all_modes[m], depths[k], row);
			near(row[3], 100 * (itl_of(m, depths[k], 1) / itl_of(0, depths[k], 1) - 1));
			near(row[4], 100 * (itl_of(m, depths[k], 2) / itl_of(0, depths[k], 2) - 1));
			near(row[5], 100 * (itl_of(m, depths[k], 0) / itl_of(0, depths[k], 0) - 1));
		}
	}
	/* x is log2 of the depth, and 0 is left of all others. */
	find_row("latency.dat", "direct", 128, row);
	near(row[0], 7);
	find_row("latency.dat", "direct", 0, row);
	assert_true(row[0] < 7);
}

/* The trace is the middle repetition, in token order, warm-up before 0, the missing itl absent. */
static void trace_is_right(void **state)
{
	(void)state;
	struct seen seen;
	char path[512], line[256];
	int in_block = 0, token = -1;
	write_sweep(&usual);
	plot_well(&seen);
	snprintf(path, sizeof path, "%s/plots/trace.dat", dir);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		long x;
		double itl;
		int event;
		if (line[0] == '#')
			in_block = !strcmp(line, "# graph-params, depth 1024, repetition 1\n");
		if (!in_block || sscanf(line, "%ld %lf %d", &x, &itl, &event) != 3)
			continue;
		assert_int_equal(x, token);
		near(itl, token < 0 ? 50 * itl_of(1, 1024, 1) : itl_of(1, 1024, 1) - 5 + token);
		assert_int_equal(event, token < 0 ? 0 : token == 7 ? 1 : 3);
		token++;
	}
	fclose(f);
	assert_int_equal(token, 11);
}

static void expect_in_svg(const char *name, const char *const *parts)
{
	char path[512];
	size_t n;
	snprintf(path, sizeof path, "%s/plots/%s", dir, name);
	char *text = read_all(path, &n);
	check_xml(text, n);
	for (; *parts; parts++)
		if (!strstr(text, *parts))
			fail_msg("%s lacks '%s'", name, *parts);
	free(text);
}

static void svg_is_well_formed_text(void **state)
{
	(void)state;
	struct seen seen;
	write_sweep(&usual);
	plot_well(&seen);
	expect_in_svg("latency.svg", (const char *const[]){"direct<", "graph-params<", "graph-update<", "graph-device<",
							   "(ms; ", "1024", "Gemma 4 E4B", "Xeon", "commit d4ce5da",
							   "2026-11-22", "11 tokens", "3 runs", NULL});
	expect_in_svg("submit.svg", (const char *const[]){"direct<", "graph-device<", "\xc2\xb5s, log scale", NULL});
	expect_in_svg("overhead.svg", (const char *const[]){"direct<", "graph-params<", "(%)", NULL});
	expect_in_svg("trace.svg", (const char *const[]){"direct, depth 0", "graph-device, depth 1024", "capture",
							 "warm-up", "(ms", NULL});
}

/* How many pixels of a PNG have this colour. */
static long count_pixels(const char *path, int r, int g, int b)
{
	char script[600], answer[64] = "";
	snprintf(script, sizeof script, "%s/count.gp", base);
	FILE *f = fopen(script, "w");
	assert_non_null(f);
	/* The path has quotes on purpose: a single-quoted gnuplot string doubles them. */
	fprintf(f, "stats '");
	for (const char *c = path; *c; c++)
		fprintf(f, *c == '\'' ? "''" : "%c", *c);
	fprintf(f, "' binary filetype=png using (abs($1-%d)+abs($2-%d)+abs($3-%d) < 6) nooutput\n", r, g, b);
	fprintf(f, "print sprintf('%%.0f', STATS_sum)\n");
	assert_int_equal(fclose(f), 0);
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		dup2(ends[1], 2);
		execlp("gnuplot", "gnuplot", "-d", script, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	f = fdopen(ends[0], "r");
	assert_non_null(f);
	if (!fgets(answer, sizeof answer, f) || !isdigit((unsigned char)answer[0]))
		fail_msg("gnuplot cannot read %s: %s", path, answer);
	fclose(f);
	assert_int_equal(waitpid(child, NULL, 0), child);
	return atol(answer);
}

static void png_shows_every_curve(void **state)
{
	(void)state;
	static const unsigned char magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
	static const int colors[4][3] = {{0, 0x72, 0xb2}, {0xd5, 0x5e, 0}, {0, 0x9e, 0x73}, {0xcc, 0x79, 0xa7}};
	static const char *const names[] = {"latency", "submit", "overhead", "trace"};
	struct seen seen;
	write_sweep(&usual);
	plot_well(&seen);
	for (int i = 0; i < 4; i++) {
		char path[512];
		size_t n;
		snprintf(path, sizeof path, "%s/plots/%s.png", dir, names[i]);
		unsigned char *bytes = (unsigned char *)read_all(path, &n);
		assert_true(n > 10000);
		assert_memory_equal(bytes, magic, sizeof magic);
		assert_int_equal(bytes[18] << 8 | bytes[19], 1600); /* IHDR's width */
		free(bytes);
		for (int m = 0; m < 4; m++) {
			long pixels = count_pixels(path, colors[m][0], colors[m][1], colors[m][2]);
			if (pixels < 200)
				fail_msg("%s: %s has %ld pixels", path, all_modes[m], pixels);
		}
		long white = count_pixels(path, 255, 255, 255);
		assert_true(white > 800000);
	}
}

static void one_depth_and_no_direct(void **state)
{
	(void)state;
	struct seen seen;
	write_sweep(&(struct sweep){"m", "d", 1, 2, 1, 1});
	plot_well(&seen);
	assert_int_equal(seen.n_paths, 6);
	assert_int_equal(seen.n_notes, 2);
	assert_non_null(strstr(seen.note[1], "overhead: not drawn"));
	expect_in_svg("latency.svg", (const char *const[]){"graph-params<", "graph-update<", "context depth 0", NULL});
}

static void expect_note(const struct seen *seen, const char *text)
{
	for (int i = 0; i < seen->n_notes; i++)
		if (strstr(seen->note[i], text))
			return;
	fail_msg("no note says: %s", text);
}

/* Lines that a killed sweep cut off, a cell that failed, and a value that nobody knows: each is said. */
static void what_is_left_out_is_told(void **state)
{
	(void)state;
	static const char rest[] = ",0,f16,f16,2,Xeon,d4ce5da,";
	struct seen seen;
	FILE *runs = create("runs.csv"), *tokens = create("tokens.csv");
	fputs(RUNS_HEADER, runs);
	fputs(TOKENS_HEADER, tokens);
	for (int i = 0; i < 4; i++) {
		const char *status = i == 3 ? "failed" : "ok", *mode = i % 2 ? "graph-params" : "direct";
		fprintf(runs, "%s,1,r%d,%s,,0,m,m.gguf,gemma4,Q8_0,0,11,%d,%s,full%s%s,\n", i % 2 ? "" : "7", i, status,
			i / 2 * 128, mode, rest, i == 3 ? "" : "5000");
		fprintf(tokens, "r%d,measure,0,7,5000,direct\n", i);
	}
	fputs("7,1,r9,ok,,0,m,m.gg", runs);
	fputs("r9,mea", tokens);
	assert_int_equal(fclose(runs), 0);
	assert_int_equal(fclose(tokens), 0);
	plot_well(&seen);
	expect_note(&seen, "1 rows of ");
	expect_note(&seen, "graph-params at depth 128 (failed)");
	expect_note(&seen, "/runs.csv: its last line is unfinished and left out");
	expect_note(&seen, "/tokens.csv: its last line is unfinished and left out");
	expect_note(&seen, "latency: left out: graph-params has no value at depth 128");
	expect_note(&seen, "submit: left out: graph-params has no value at any depth");
	expect_note(&seen, "overhead: left out: graph-params has no value at depth 128");
	assert_int_equal(seen.n_notes, 6);
}

/* A sweep that was kept without its tokens: all that its rows give, and what is not there is said once. */
static void runs_alone_are_drawn(void **state)
{
	(void)state;
	struct seen seen;
	char path[512];
	double row[8];
	size_t n;
	write_sweep(&(struct sweep){"m", "d", 0, 4, 3, 2});
	snprintf(path, sizeof path, "%s/tokens.csv", dir);
	assert_int_equal(unlink(path), 0);
	plot_well(&seen);
	assert_int_equal(seen.n_paths, 12); /* latency, submit and overhead of both fusions, as SVG and PNG */
	for (int i = 0; i < seen.n_paths; i++)
		assert_null(strstr(seen.path[i], "trace"));
	expect_note(&seen, "has no tokens.csv: trace, each token of a run, is not drawn, nor p10");
	assert_int_equal(seen.n_notes, 2); /* and the row that is not ok */
	find_row("latency-fusion-none.dat", "graph-update", 1024, row);
	near(row[3], 2 * itl_of(2, 1024, 1));
	assert_true(isnan(row[6]) && isnan(row[7]));
	find_row("overhead-fusion-full.dat", "graph-device", 128, row);
	near(row[3], 100 * (itl_of(3, 128, 1) / itl_of(0, 128, 1) - 1));
	/* What is not drawn is not explained. */
	snprintf(path, sizeof path, "%s/plots/latency-fusion-full.svg", dir);
	char *svg = read_all(path, &n);
	assert_non_null(strstr(svg, "bar: min to max over runs"));
	assert_null(strstr(svg, "p10"));
	free(svg);
	char *words[] = {"plot", dir, "--format", "svg", NULL};
	assert_int_equal(cmd_plot(4, words), 0);
}

static void combinations_are_not_mixed(void **state)
{
	(void)state;
	struct seen seen;
	double row[8];
	write_sweep(&(struct sweep){"m", "d", 0, 2, 2, 2});
	plot_well(&seen);
	assert_int_equal(seen.n_paths, 16);
	find_row("latency-fusion-full.dat", "direct", 128, row);
	near(row[3], itl_of(0, 128, 1));
	find_row("latency-fusion-none.dat", "direct", 128, row);
	near(row[3], 2 * itl_of(0, 128, 1));
}

/* Names with everything that gnuplot, XML, a shell or a path could take for its own. */
static void names_are_only_text(void **state)
{
	(void)state;
	struct seen seen;
	struct stat st;
	char cwd_file[600];
	write_sweep(&(struct sweep){"a'b`touch pwned`$(touch pwned)@x \\n <&> {/Symbol} %d _^",
				    "'; system('touch pwned'); \xff\xc0 \"\"q\"\" # \xef\xbf\xbf", 0, 4, 3, 2});
	plot_well(&seen);
	assert_int_equal(seen.n_paths, 16);
	expect_in_svg("latency-fusion-full.svg",
		      (const char *const[]){"a'b`touch pwned`$(touch pwned)@x \\n &lt;&amp;> {/Symbol} %d _^",
					    "'; system('touch pwned'); \xef\xbf\xbd\xef\xbf\xbd \"q\" # \xef\xbf\xbd",
					    NULL});
	assert_int_not_equal(stat("pwned", &st), 0);
	snprintf(cwd_file, sizeof cwd_file, "%s/plots/pwned", dir);
	assert_int_not_equal(stat(cwd_file, &st), 0);
}

static void write_program(const char *name, const char *text)
{
	char path[512];
	write_file(name, text, strlen(text));
	snprintf(path, sizeof path, "%s/%s", dir, name);
	assert_int_equal(chmod(path, 0755), 0);
}

static void gnuplot_failures_are_told(void **state)
{
	(void)state;
	struct seen seen;
	struct error err = {0};
	char program[512];
	write_sweep(&usual);

	assert_int_equal(plot(&seen, PLOT_FORMAT_SVG, "gnuplot-that-is-not-there", 60, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "gnuplot-nox"));

	snprintf(program, sizeof program, "%s/failing", dir);
	write_program("failing", "#!/bin/sh\necho 'line one' >&2\necho '  line two' >&2\nexit 3\n");
	assert_int_equal(plot(&seen, PLOT_FORMAT_SVG, program, 60, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "exit status 3: line one line two"));
	assert_null(strchr(err.text, '\n'));

	snprintf(program, sizeof program, "%s/idle", dir);
	write_program("idle", "#!/bin/sh\nexit 0\n");
	assert_int_equal(plot(&seen, PLOT_FORMAT_SVG, program, 60, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "drew nothing"));

	snprintf(program, sizeof program, "%s/slow", dir);
	write_program("slow", "#!/bin/sh\nexec sleep 30\n");
	assert_int_equal(plot(&seen, PLOT_FORMAT_SVG, program, 1, &err), ERROR_IO);
	assert_non_null(strstr(err.text, "longer than 1 s"));
	assert_int_equal(seen.n_paths, 0);
}

static void command_line(void **state)
{
	(void)state;
	struct stat st;
	char out[300], file[400];
	write_sweep(&usual);
	snprintf(out, sizeof out, "%s/elsewhere", dir);
	char *good[] = {"plot", "--format=svg", dir, "-o", out, NULL};
	assert_int_equal(cmd_plot(5, good), 0);
	snprintf(file, sizeof file, "%s/trace.svg", out);
	assert_int_equal(stat(file, &st), 0);
	snprintf(file, sizeof file, "%s/trace.png", out);
	assert_int_not_equal(stat(file, &st), 0);

	char *none[] = {"plot", NULL};
	assert_int_equal(cmd_plot(1, none), 2);
	char *two[] = {"plot", dir, dir, NULL};
	assert_int_equal(cmd_plot(3, two), 2);
	char *format[] = {"plot", dir, "--format", "svg,pdf", NULL};
	assert_int_equal(cmd_plot(4, format), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(aggregates_are_right, make_dir),
		cmocka_unit_test_setup(trace_is_right, make_dir),
		cmocka_unit_test_setup(svg_is_well_formed_text, make_dir),
		cmocka_unit_test_setup(png_shows_every_curve, make_dir),
		cmocka_unit_test_setup(one_depth_and_no_direct, make_dir),
		cmocka_unit_test_setup(what_is_left_out_is_told, make_dir),
		cmocka_unit_test_setup(runs_alone_are_drawn, make_dir),
		cmocka_unit_test_setup(combinations_are_not_mixed, make_dir),
		cmocka_unit_test_setup(names_are_only_text, make_dir),
		cmocka_unit_test_setup(gnuplot_failures_are_told, make_dir),
		cmocka_unit_test_setup(command_line, make_dir),
	};
	return cmocka_run_group_tests(tests, make_base, remove_base);
}
