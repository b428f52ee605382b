/*
 * What the replay of a graph costs, by its number of nodes: on the host, to submit, and on the GPU, to run.
 *
 *   gemmark_replay_cost [--out FILE.csv] [--nodes N,N,...] [--budget MS] [-h, --help]
 *
 * Varied are the edges (full or programmatic), the kernels (empty, of 2 us, or two empty ones by turns), their
 * parameters' size, copies among them, branches, updates by the host before the launch or on the device by the graph's
 * first node, and what the GPU does meanwhile (replay_measure.h says which of the times tells what). A line of the CSV:
 * a quantity of one graph launched in one way. What is printed: the straight line through the medians over the number
 * of nodes, and how far the worst of them is from it.
 *
 * Exit code 77 without a GPU; 1 where a replay did not run what it should.
 */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/output_file.h"
#include "bench/replay_measure.h"
#include "generated/gemmark_version.h"

enum { NODES_MAX = 16, LARGEST = 100000, SKIPPED = 77 };

static const double SPIN_US = 2;

struct options {
	const char *out; /* null: no file */
	int nodes[NODES_MAX];
	int n_nodes;
	double budget_us; /* of one graph, launched in one way */
};

/* Everything but the number of nodes. */
struct series {
	struct replay_spec spec;
	struct replay_way way;
};

enum { SERIES_MAX = 128 };
struct plan {
	struct series series[SERIES_MAX];
	int n;
};

static void add(struct plan *p, struct replay_spec spec, struct replay_way way)
{
	if (p->n < SERIES_MAX)
		p->series[p->n++] = (struct series){spec, way};
}

static void add_states(struct plan *p, struct replay_spec spec)
{
	for (int state = REPLAY_IDLE; state <= REPLAY_QUEUED; state++)
		add(p, spec, (struct replay_way){.state = (enum replay_state)state});
}

/* First without any update, so that what it costs to be updatable is seen apart. */
static void add_patched(struct plan *p, bool pdl)
{
	static const int n_patched[] = {1, 10, 100, REPLAY_PATCH_ALL};
	struct replay_spec spec = {.shape = REPLAY_PATCHED, .pdl = pdl, .params_bytes = REPLAY_SMALL_PARAMS};
	add_states(p, spec);
	for (int patch = 0; patch < REPLAY_PATCHES; patch++)
		for (int i = 0; i < 4; i++) {
			spec.patch = (enum replay_patch)patch;
			spec.n_patched = n_patched[i];
			for (int state = REPLAY_IDLE; state <= REPLAY_GATED; state++)
				add(p, spec, (struct replay_way){.state = (enum replay_state)state});
		}
}

static void make_plan(struct plan *p)
{
	static const int updates[] = {1, 10, 100, REPLAY_UPDATE_WHOLE};
	for (int pdl = 0; pdl < 2; pdl++) {
		struct replay_spec chain = {.shape = REPLAY_CHAIN, .pdl = pdl, .params_bytes = REPLAY_SMALL_PARAMS};
		struct replay_spec other = chain;
		add_states(p, chain);
		other.spin_us = SPIN_US;
		add_states(p, other);
		other = chain;
		other.params_bytes = REPLAY_LARGE_PARAMS;
		add_states(p, other);
		other = chain;
		other.mixed = true;
		add_states(p, other);
		other = chain;
		other.shape = REPLAY_COPIES;
		add_states(p, other);
		for (int u = 0; u < 4; u++)
			for (int state = REPLAY_IDLE; state <= REPLAY_GATED; state++)
				add(p, chain,
				    (struct replay_way){.state = (enum replay_state)state, .updates = updates[u]});
		for (int upload = 0; upload < 2; upload++)
			add(p, chain, (struct replay_way){.state = REPLAY_FIRST, .upload = upload});
	}
	for (int branches = 2; branches <= 4; branches *= 2)
		add_states(p, (struct replay_spec){.shape = REPLAY_PARALLEL,
						   .branches = branches,
						   .params_bytes = REPLAY_SMALL_PARAMS});
	add_states(p, (struct replay_spec){.shape = REPLAY_DIAMONDS, .params_bytes = REPLAY_SMALL_PARAMS});
	for (int pdl = 0; pdl < 2; pdl++)
		add_patched(p, pdl);
}

static void updates_text(const struct series *s, char out[16])
{
	int n = s->spec.shape == REPLAY_PATCHED ? s->spec.n_patched : s->way.updates;
	if (n < 0)
		snprintf(out, 16, "%s", s->spec.shape == REPLAY_PATCHED ? "all" : "whole");
	else
		snprintf(out, 16, "%d", n);
}

/* "none", "host", or what a patch sets: "param", "grid" */
static const char *updated_by(const struct series *s)
{
	return s->spec.shape != REPLAY_PATCHED ? s->way.updates ? "host" : "none"
	       : s->spec.n_patched             ? replay_patch_name(s->spec.patch)
					       : "none";
}

static const char *kernel_text(const struct replay_spec *s)
{
	return s->spin_us > 0 ? "2us" : s->mixed ? "mixed" : "empty";
}

/* ---- the file ---- */

static void write_head(FILE *f)
{
	fputs("shape,branches,edges,kernel,params_bytes,nodes,kernels,copies,state,uploaded,updates,quantity,samples,"
	      "expired,p5_us,median_us,p95_us,gpu,commit,updated_by\n",
	      f);
}

static void write_rows(FILE *f, const struct replay_gpu *g, const struct series *s, const struct replay_times *t)
{
	char updates[16];
	updates_text(s, updates);
	for (int q = 0; q < REPLAY_QUANTITIES; q++) {
		if (!t->has[q])
			continue;
		const double *us = t->us[q];
		fprintf(f, "%s,%d,%s,%s,%d,%d,%d,%d,%s,%d,%s,%s,%d,%d,%.4f,%.4f,%.4f,%s,%s,%s\n",
			replay_shape_name(s->spec.shape), s->spec.shape == REPLAY_PARALLEL ? s->spec.branches : 1,
			s->spec.pdl ? "pdl" : "full", kernel_text(&s->spec), s->spec.params_bytes, s->spec.nodes,
			t->n_kernels, t->n_copies, replay_state_name(s->way.state),
			s->way.state != REPLAY_FIRST || s->way.upload, updates,
			replay_quantity_name((enum replay_quantity)q), t->n, t->expired,
			replay_quantile(us, t->n, 0.05), replay_quantile(us, t->n, 0.5),
			replay_quantile(us, t->n, 0.95), g->name, GEMMARK_LABEL, updated_by(s));
	}
}

/* ---- what is printed ---- */

/* Least squares through (n) points; the worst is relative to the point. */
struct line {
	double at_none, slope, worst;
};

static struct line fit(const double *x, const double *y, int n)
{
	double mx = 0, my = 0, xx = 0, xy = 0;
	for (int i = 0; i < n; i++) {
		mx += x[i] / n;
		my += y[i] / n;
	}
	for (int i = 0; i < n; i++) {
		xx += (x[i] - mx) * (x[i] - mx);
		xy += (x[i] - mx) * (y[i] - my);
	}
	struct line l = {.slope = xx > 0 ? xy / xx : 0};
	l.at_none = my - l.slope * mx;
	for (int i = 0; i < n; i++)
		l.worst = fmax(l.worst, fabs(l.at_none + l.slope * x[i] - y[i]) / y[i]);
	return l;
}

static void print_lines(const struct series *s, const double *nodes, double medians[REPLAY_QUANTITIES][NODES_MAX],
			const int *n)
{
	char updates[16], what[80];
	const char *by = s->spec.shape == REPLAY_PATCHED && s->spec.n_patched ? updated_by(s) : "";
	updates_text(s, updates);
	snprintf(what, sizeof what, "%s%.0d %s %s %dB, %s%s, updates %s%s%s", replay_shape_name(s->spec.shape),
		 s->spec.branches, s->spec.pdl ? "pdl" : "full", kernel_text(&s->spec), s->spec.params_bytes,
		 replay_state_name(s->way.state),
		 s->way.state != REPLAY_FIRST ? ""
		 : s->way.upload              ? " uploaded"
					      : " not uploaded",
		 updates, *by ? " by " : "", by);
	for (int q = 0; q < REPLAY_QUANTITIES; q++) {
		if (n[q] < 2)
			continue;
		struct line l = fit(nodes, medians[q], n[q]);
		printf("%-58s %-11s %8.2f us %+9.2f ns a node, worst %4.1f %%;", what,
		       replay_quantity_name((enum replay_quantity)q), l.at_none, 1e3 * l.slope, 100 * l.worst);
		for (int i = 0; i < n[q]; i++)
			printf(" %.2f", medians[q][i]);
		printf("\n");
	}
}

/* ---- the sweep ---- */

static int run_series(struct replay_gpu *g, const struct options *o, struct series s, FILE *f, struct error *err)
{
	static struct replay_times times;
	double nodes[NODES_MAX], medians[REPLAY_QUANTITIES][NODES_MAX];
	int n[REPLAY_QUANTITIES] = {0}, expired = 0;
	for (int i = 0; i < o->n_nodes; i++) {
		s.spec.nodes = o->nodes[i];
		if (s.spec.n_patched >= s.spec.nodes) /* the patch itself is a node */
			continue;
		int rc = replay_measure(g, &s.spec, &s.way, o->budget_us, &times, err);
		if (rc)
			return rc;
		expired += times.expired;
		if (!times.n)
			continue;
		nodes[n[REPLAY_HOST]] = s.spec.nodes;
		for (int q = 0; q < REPLAY_QUANTITIES; q++)
			if (times.has[q])
				medians[q][n[q]++] = replay_quantile(times.us[q], times.n, 0.5);
		if (f)
			write_rows(f, g, &s, &times);
	}
	print_lines(&s, nodes, medians, n);
	if (expired)
		printf("  %d launches did not return before the gate gave up: they wait for the GPU\n", expired);
	fflush(stdout);
	return 0;
}

static int run(const struct options *o, FILE *f, int *failed, struct error *err)
{
	static struct replay_gpu g;
	static struct plan plan;
	int rc = replay_gpu_open(&g, err);
	if (!rc) {
		printf("%s, driver %d.%d, NVRTC %d.%d; medians at", g.name, g.cu.version / 1000,
		       g.cu.version % 1000 / 10, g.nvrtc_major, g.nvrtc_minor);
		for (int i = 0; i < o->n_nodes; i++)
			printf(" %d", o->nodes[i]);
		printf(" nodes\n");
	}
	make_plan(&plan);
	if (f)
		write_head(f);
	if (!rc && g.no_patch.text[0])
		printf("LEFT OUT: graphs whose nodes are updated on the device: they need %s\n", g.no_patch.text);
	for (int i = 0; i < plan.n && !rc; i++) {
		const struct replay_spec *spec = &plan.series[i].spec;
		if ((spec->pdl && g.compute_capability < 90) || (spec->shape == REPLAY_PATCHED && g.no_patch.text[0]))
			continue;
		if (run_series(&g, o, plan.series[i], f, err)) { /* the others are worth having all the same */
			printf("FAILED: %s\n", err->text);
			++*failed;
		}
	}
	replay_gpu_close(&g);
	return rc;
}

/* ---- options ---- */

static int parse_nodes(struct options *o, const char *text, struct error *err)
{
	o->n_nodes = 0;
	for (const char *at = text;;) {
		char *end;
		errno = 0;
		long n = strtol(at, &end, 10);
		if (end == at || errno || n < 100 || n > LARGEST || (*end && *end != ','))
			return error_set(err, ERROR_INPUT, "--nodes: '%.40s': numbers from 100 to %d, as in 100,1000",
					 at, LARGEST);
		if (o->n_nodes == NODES_MAX)
			return error_set(err, ERROR_INPUT, "--nodes: more than %d of them", NODES_MAX);
		o->nodes[o->n_nodes++] = (int)n;
		if (!*end)
			return 0;
		at = end + 1;
	}
}

static const char usage[] =
	"usage: gemmark_replay_cost [options]\n"
	"\n"
	"what the replay of a graph costs by its number of nodes: on the host, to submit, and on the GPU, to run\n"
	"\n"
	"  --out FILE.csv   each quantity of each graph as a line; results/SCHEMA.md has the columns (default: no "
	"file)\n"
	"  --nodes N,N,...  sizes of the graphs, 16 at most, 100 to 100000 (default: 100,200,500,1000,2000,3000)\n"
	"  --budget MS      time for one graph, launched in one way, 1 to 100000 (default: 60)\n"
	"  -h, --help       this text\n"
	"\n"
	"exit codes: 0 done, 1 a replay did not run what it should, 2 bad input, 77 no GPU\n";

static bool is_help(const char *word)
{
	return !strcmp(word, "-h") || !strcmp(word, "--help");
}

/* 1: the usage is asked for. */
static int parse(struct options *o, int argc, char **argv, struct error *err)
{
	static const char *const known[] = {"--out", "--nodes", "--budget"};
	*o = (struct options){.nodes = {100, 200, 500, 1000, 2000, 3000}, .n_nodes = 6, .budget_us = 60e3};
	for (int i = 1; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		size_t k = 0;
		if (is_help(argv[i]))
			return 1;
		while (k < sizeof known / sizeof *known && strcmp(argv[i], known[k]))
			k++;
		if (k == sizeof known / sizeof *known)
			return error_set(err, ERROR_INPUT, "%.40s: there are --out, --nodes and --budget; see --help",
					 argv[i]);
		if (!value)
			return error_set(err, ERROR_INPUT, "%s: without its value; see --help", argv[i]);
		if (!strcmp(argv[i], "--out")) {
			o->out = value;
		} else if (!strcmp(argv[i], "--nodes")) {
			if (parse_nodes(o, value, err))
				return ERROR_INPUT;
		} else {
			char *end;
			o->budget_us = strtod(value, &end) * 1e3;
			if (end == value || *end || !(o->budget_us >= 1e3 && o->budget_us <= 1e8))
				return error_set(err, ERROR_INPUT, "--budget: '%.40s': milliseconds, 1 to 100000",
						 value);
		}
	}
	return 0;
}

static int run_into(const struct options *o, int *failed, struct error *err)
{
	struct output_file out;
	FILE *f = NULL;
	int rc = output_file_open(&out, o->out, true, err);
	if (rc)
		return error_prefix(err, rc, "--out");
	rc = output_file_stream(&out, &f, err);
	rc = rc ? rc : run(o, f, failed, err);
	if (f && (ferror(f) | fclose(f)) && !rc)
		rc = error_set(err, ERROR_IO, "--out: %s: cannot be written; name another file", o->out);
	rc = rc ? rc : output_file_commit(&out, err);
	output_file_discard(&out);
	return rc;
}

int main(int argc, char **argv)
{
	struct options o;
	struct error err = {""};
	int rc = parse(&o, argc, argv, &err);
	if (rc > 0 && fputs(usage, stdout) >= 0 && !fflush(stdout))
		return 0;
	if (rc > 0)
		rc = error_set(&err, ERROR_IO, "cannot write to standard output: %s", strerror(errno));
	if (!rc) {
		struct cuda_driver cu;
		rc = cuda_driver_open(&cu, &err);
		cuda_driver_close(&cu);
		if (rc == ERROR_UNSUPPORTED) {
			printf("SKIP: %s\n", err.text);
			return SKIPPED;
		}
	}
	int failed = 0;
	rc = rc ? rc : o.out ? run_into(&o, &failed, &err) : run(&o, NULL, &failed, &err);
	if (rc)
		fprintf(stderr, "gemmark_replay_cost: %s\n", err.text);
	return rc == ERROR_INPUT || rc == ERROR_IO ? 2 : rc || failed;
}
