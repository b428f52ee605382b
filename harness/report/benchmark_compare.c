#include "harness/report/benchmark_compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "harness/stats/stats.h"

static int no_memory(struct error *err)
{
	return error_set(err, ERROR_MEMORY, "no memory for the comparison");
}

/* ---- finding ---- */

/* A side's benchmarks of one name. */
struct named {
	const char *name;
	int file, at;
};

static int by_name(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order ? order : (x->file > y->file) - (x->file < y->file);
}

struct index {
	struct named *named; /* (n), by name, then by file */
	int n;
};

static int make_index(struct index *x, const struct benchmark_file *files, int n, struct error *err)
{
	size_t all = 0;
	for (int i = 0; i < n; i++)
		all += (size_t)files[i].n;
	x->named = malloc((all + 1) * sizeof *x->named);
	x->n = 0;
	if (!x->named)
		return no_memory(err);
	for (int i = 0; i < n; i++)
		for (int k = 0; k < files[i].n; k++)
			x->named[x->n++] = (struct named){.name = files[i].benchmarks[k].name, .file = i, .at = k};
	qsort(x->named, (size_t)x->n, sizeof *x->named, by_name);
	return 0;
}

/* The first of that name, or where it would be. */
static int find(const struct index *x, const char *name)
{
	int low = 0, high = x->n;
	while (low < high) {
		int middle = low + (high - low) / 2;
		if (strcmp(x->named[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- units ---- */

struct side_units {
	double *us; /* to be filled */
	int n;
	int there; /* benchmarks of that name */
	const char *reason;
};

static void collect(const struct index *x, const struct benchmark_file *files, int n_files, const char *name,
		    struct side_units *u)
{
	for (int i = find(x, name); i < x->n && !strcmp(x->named[i].name, name); i++) {
		const struct benchmark_times *t = &files[x->named[i].file].benchmarks[x->named[i].at];
		u->there++;
		u->reason = u->reason ? u->reason : t->reason;
		if (n_files > 1 && t->n)
			u->us[u->n++] = stats_median(t->us, t->n);
		for (int k = 0; n_files == 1 && k < t->n; k++)
			u->us[u->n++] = t->us[k];
	}
}

static int check_distinct(const struct benchmark_file *base, int n_base, const struct benchmark_file *head, int n_head,
			  struct error *err)
{
	for (int i = 0; i < n_base + n_head; i++)
		for (int k = 0; k < i; k++) {
			const struct benchmark_file *a = i < n_base ? &base[i] : &head[i - n_base];
			const struct benchmark_file *b = k < n_base ? &base[k] : &head[k - n_base];
			if (a->device == b->device && a->inode == b->inode)
				return error_set(err, ERROR_INPUT, "%s: named twice; each file is one measurement",
						 text_show_path(a->path).text);
		}
	return 0;
}

/* Of each fact the first file that differs. */
static void find_differences(struct benchmark_sides *s, const struct benchmark_file *base, int n_base,
			     const struct benchmark_file *head, int n_head)
{
	for (int k = 0; k < BENCHMARK_FACTS; k++) {
		char one[BENCHMARK_FACT_SIZE] = "", other[BENCHMARK_FACT_SIZE];
		for (int i = 0; i < n_base + n_head; i++) {
			benchmark_fact(i < n_base ? &base[i] : &head[i - n_base], k, other);
			if (!i || (!*one && benchmark_fact_is_new(k)))
				strcpy(one, other);
			if (!strcmp(one, other) || (!*other && benchmark_fact_is_new(k)))
				continue;
			s->differences[s->n_differences].name = benchmark_fact_name(k);
			strcpy(s->differences[s->n_differences].base, *one ? one : "unknown");
			strcpy(s->differences[s->n_differences++].other, *other ? other : "unknown");
			break;
		}
	}
}

/* values: room for n. */
static double median_rate(const struct benchmark_file *files, int n, int rate, double *values)
{
	int known = 0;
	for (int i = 0; i < n; i++) {
		values[known] = benchmark_rate(&files[i], rate);
		known += !isnan(values[known]);
	}
	return known ? stats_median(values, known) : NAN;
}

static int look_at_sides(struct benchmark_comparison *c, const struct benchmark_file *base, int n_base,
			 const struct benchmark_file *head, int n_head, struct error *err)
{
	struct benchmark_sides *s = &c->sides;
	double *values = malloc((size_t)(n_base > n_head ? n_base : n_head) * sizeof *values);
	if (!values)
		return no_memory(err);
	benchmark_commit(&base[0], s->base_commit);
	benchmark_commit(&head[0], s->head_commit);
	for (int i = 0; i < BENCHMARK_RATES; i++) {
		s->rates[i].base = median_rate(base, n_base, i, values);
		s->rates[i].head = median_rate(head, n_head, i, values);
	}
	free(values);
	find_differences(s, base, n_base, head, n_head);
	return s->n_differences && !c->options.allow_env_diff
		       ? error_set(err, ERROR_INPUT,
				   "the sides were not measured alike: %s: %s there, %s here; measure both alike, or "
				   "say --allow-env-diff",
				   s->differences[0].name, s->differences[0].base, s->differences[0].other)
		       : 0;
}

static int match(struct benchmark_comparison *c, const struct benchmark_file *base, int n_base,
		 const struct benchmark_file *head, int n_head, const struct index x[2], struct verdict_cell *cells,
		 struct error *err)
{
	double *next = c->units;
	const char *alone = NULL;
	for (int i = 0; i < x[1].n; i++) { /* names that head alone has */
		const char *name = x[1].named[i].name;
		int at = find(&x[0], name);
		if (i && !strcmp(x[1].named[i - 1].name, name))
			continue;
		if (at == x[0].n || strcmp(x[0].named[at].name, name)) {
			alone = alone ? alone : name;
			c->left_out++;
		}
	}
	for (int i = 0; i < n_base; i++)
		for (int k = 0; k < base[i].n; k++) {
			const char *name = base[i].benchmarks[k].name;
			struct side_units b = {.us = next}, h;
			if (x[0].named[find(&x[0], name)].file != i)
				continue; /* an earlier file's */
			collect(&x[0], base, n_base, name, &b);
			h = (struct side_units){.us = next + b.n};
			collect(&x[1], head, n_head, name, &h);
			if (!h.there) {
				alone = alone ? alone : name;
				c->left_out++;
				continue;
			}
			if (c->options.paired && b.n && h.n && b.n != h.n)
				return error_set(err, ERROR_INPUT, "--paired: %s: %d measurements of base, %d of head",
						 text_show(name, strlen(name)).text, b.n, h.n);
			next += b.n + h.n;
			cells[c->n] = (struct verdict_cell){.baseline = b.us,
							    .candidate = h.us,
							    .n = b.n,
							    .m = h.n,
							    .paired = c->options.paired && b.n};
			if (!h.n)
				cells[c->n].paired = 0;
			c->changes[c->n++] = (struct benchmark_change){.name = name,
								       .n = b.n,
								       .m = h.n,
								       .base = stats_median(b.us, b.n),
								       .head = stats_median(h.us, h.n),
								       .reason = h.reason};
		}
	if (c->left_out && !c->options.common_cells)
		return error_set(
			err, ERROR_INPUT,
			"%d benchmarks are of one side alone (the first: %s); measure the same ones, or compare "
			"what both have with --common-cells",
			c->left_out, text_show(alone, strlen(alone)).text);
	return c->n ? 0
		    : error_set(err, ERROR_INPUT, "base and head have no benchmark in common; nothing can be compared");
}

/* ---- judging ---- */

static enum compare_outcome judge(const struct benchmark_comparison *c, struct benchmark_change *k)
{
	static const enum compare_outcome of[] = {[VERDICT_SAME] = COMPARE_SAME,
						  [VERDICT_FASTER] = COMPARE_FASTER,
						  [VERDICT_SLOWER] = COMPARE_SLOWER,
						  [VERDICT_INCONCLUSIVE] = COMPARE_UNCLEAR};
	struct verdict *v = &k->verdict;
	double nearest = v->kind == VERDICT_SLOWER ? v->low : -v->high;
	if (k->reason && !strncmp(k->reason, "wrong", 5)) /* as bench/ says it */
		return COMPARE_WRONG;
	if (k->n && (!k->m || k->reason))
		return COMPARE_LOST;
	if (!k->n)
		return k->m ? COMPARE_GAINED : COMPARE_NOT_RUN;
	if (c->single_process && (v->kind == VERDICT_SLOWER || v->kind == VERDICT_FASTER) &&
	    nearest < c->options.process)
		v->kind = VERDICT_INCONCLUSIVE;
	return of[v->kind];
}

int benchmark_compare(const struct benchmark_file *base, int n_base, const struct benchmark_file *head, int n_head,
		      const struct compare_options *o, struct benchmark_comparison *out, struct error *err)
{
	struct index x[2] = {{0}, {0}};
	struct verdict_cell *cells = NULL;
	struct verdict *verdicts = NULL;
	size_t units = 0;
	*out = (struct benchmark_comparison){.options = *o, .single_process = n_base == 1 || n_head == 1};
	int rc = check_distinct(base, n_base, head, n_head, err);
	rc = rc ? rc : look_at_sides(out, base, n_base, head, n_head, err);
	if (!rc && (n_base == 1) != (n_head == 1))
		rc = error_set(err, ERROR_INPUT,
			       "one side has several files and the other one: processes and repetitions are no equal "
			       "units; give several of each, or one");
	rc = rc ? rc : make_index(&x[0], base, n_base, err);
	rc = rc ? rc : make_index(&x[1], head, n_head, err);
	if (!rc) {
		for (int i = 0; i < n_base + n_head; i++) {
			const struct benchmark_file *f = i < n_base ? &base[i] : &head[i - n_base];
			for (int k = 0; k < f->n; k++)
				units += (size_t)f->benchmarks[k].n + 1;
		}
		size_t most = (size_t)x[0].n + 1;
		out->units = malloc((units + 1) * sizeof *out->units);
		out->changes = calloc(most, sizeof *out->changes);
		cells = calloc(most, sizeof *cells);
		verdicts = calloc(most, sizeof *verdicts);
		rc = out->units && out->changes && cells && verdicts ? 0 : no_memory(err);
	}
	rc = rc ? rc : match(out, base, n_base, head, n_head, x, cells, err);
	rc = rc ? rc : verdict_compare(cells, out->n, &o->verdict, verdicts, err);
	for (int i = 0; i < out->n && !rc; i++) {
		out->changes[i].verdict = verdicts[i];
		out->changes[i].outcome = judge(out, &out->changes[i]);
		out->count[out->changes[i].outcome]++;
	}
	out->least_units = verdict_least_runs(out->n, o->verdict.alpha);
	free(x[0].named);
	free(x[1].named);
	free(cells);
	free(verdicts);
	return rc;
}

void benchmark_compare_free(struct benchmark_comparison *c)
{
	free(c->changes);
	free(c->units);
	*c = (struct benchmark_comparison){0};
}

int benchmark_compare_code(const struct benchmark_comparison *c)
{
	if (c->count[COMPARE_WRONG])
		return 4;
	if (c->count[COMPARE_SLOWER] || c->count[COMPARE_LOST])
		return 1;
	return c->count[COMPARE_UNCLEAR] ? 3 : 0;
}
