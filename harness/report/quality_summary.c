#include "harness/report/quality_summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/stats/stats_estimate.h"
#include "harness/stats/stats_significance.h"

enum {
	SEEDS_MAX = 256,
	CASES_MAX = 4096,
	THIRDS = 3,
	VIEWS = 2 + QUALITY_QUESTIONS + THIRDS, /* of needles: all, by question, by third; of texts: one */
};

static const double LEVEL = 0.95, ALPHA = 0.05;

/* What a row of the summary is of, beside its case. */
struct view {
	enum quality_measure measure;
	int asked, question, third;
};

/* A value for each seed; NAN: it has none. */
struct values {
	double of[SEEDS_MAX];
	int n;
};

static bool same_case(const struct quality_case *a, const struct quality_case *b)
{
	return a->context == b->context && a->policy == b->policy && a->budget == b->budget && a->window == b->window &&
	       a->pool == b->pool;
}

/* Others that are compared with a case: their policy is another. The full cache is beyond comparison. */
static bool rivals(const struct quality_case *a, const struct quality_case *b)
{
	return a->context == b->context && a->window == b->window && a->budget == b->budget && a->policy != b->policy &&
	       a->policy != QUALITY_FULL && b->policy != QUALITY_FULL;
}

/* Perplexities as logarithms. */
static bool is_log(enum quality_measure m)
{
	return m == QUALITY_PERPLEXITY || m == QUALITY_RATIO;
}

static double text_value(const struct quality_rows *from, const struct quality_text_row *t, enum quality_measure m)
{
	if (m != QUALITY_RATIO)
		return m == QUALITY_KL ? t->kl : m == QUALITY_TOP1 ? t->top1 : t->nll;
	for (int i = 0; i < from->n_texts; i++) {
		const struct quality_text_row *full = &from->texts[i];
		if (full->of.policy == QUALITY_FULL && full->of.context == t->of.context && full->seed == t->seed)
			return t->nll - full->nll;
	}
	return NAN;
}

static void gather(const struct quality_rows *from, const struct quality_case *c, const struct view *v,
		   struct values *out)
{
	int counts[SEEDS_MAX] = {0};
	*out = (struct values){.n = 0};
	for (int i = 0; i < from->n_texts && v->asked < 0; i++) {
		const struct quality_text_row *t = &from->texts[i];
		if (!same_case(&t->of, c) || t->seed >= SEEDS_MAX)
			continue;
		out->of[t->seed] += text_value(from, t, v->measure);
		counts[t->seed]++;
	}
	for (int i = 0; i < from->n_needles && v->asked >= 0; i++) {
		const struct quality_needle_row *t = &from->needles[i];
		if (!same_case(&t->of, c) || t->seed >= SEEDS_MAX || (int)t->asked != v->asked ||
		    (v->question >= 0 && (int)t->question != v->question) ||
		    (v->third >= 0 && (int)(t->depth * THIRDS) != v->third))
			continue;
		out->of[t->seed] += v->measure == QUALITY_EXACT ? t->exact : t->logprob;
		counts[t->seed]++;
	}
	for (int i = 0; i < SEEDS_MAX; i++) {
		out->of[i] = counts[i] ? out->of[i] / counts[i] : NAN;
		out->n = counts[i] ? i + 1 : out->n;
	}
}

/* Seeds that both have: a's values less b's. */
static int differences(const struct values *a, const struct values *b, double *out)
{
	int n = 0;
	for (int i = 0; i < a->n && i < b->n; i++)
		if (!isnan(a->of[i]) && !isnan(b->of[i]))
			out[n++] = a->of[i] - b->of[i];
	return n;
}

/* Whether each rival is worse, and surely. */
static int find_best(const struct quality_rows *from, const struct quality_case *cases, int n_cases, int at,
		     const struct view *v, const struct values *mine, bool *best, struct error *err)
{
	double p[CASES_MAX], d[SEEDS_MAX];
	const double sign = v->measure == QUALITY_KL || is_log(v->measure) ? -1 : 1;
	int n = 0;
	*best = true;
	for (int i = 0; i < n_cases && *best; i++) {
		struct values other;
		struct stats_interval interval;
		if (!rivals(&cases[at], &cases[i]))
			continue;
		gather(from, &cases[i], v, &other);
		int k = differences(mine, &other, d);
		if (stats_bootstrap_mean(d, k, LEVEL, 1, &interval))
			return error_set(err, ERROR_MEMORY, "no memory for the intervals of %d seeds", k);
		*best = sign > 0 ? interval.low > 0 : interval.high < 0;
		p[n++] = stats_sign_flip(d, k);
	}
	if (*best && n && stats_holm(p, n, p))
		return error_set(err, ERROR_MEMORY, "no memory for %d tests", n);
	for (int i = 0; i < n && *best; i++)
		*best = p[i] < ALPHA;
	*best = *best && n;
	return 0;
}

/* The cases, in the order in which they first came. */
static int list_cases(const struct quality_rows *from, struct quality_case *out)
{
	int n = 0;
	for (int i = 0; i < from->n_texts + from->n_needles; i++) {
		const struct quality_case *c =
			i < from->n_texts ? &from->texts[i].of : &from->needles[i - from->n_texts].of;
		int k = 0;
		while (k < n && !same_case(&out[k], c))
			k++;
		if (k == n && n < CASES_MAX)
			out[n++] = *c;
	}
	return n;
}

static int list_views(const struct quality_rows *from, struct view out[4 + 2 * QUALITY_ASKED * VIEWS])
{
	int n = 0;
	for (int m = QUALITY_KL; m <= QUALITY_RATIO && from->n_texts; m++)
		out[n++] = (struct view){(enum quality_measure)m, -1, -1, -1};
	for (int m = QUALITY_EXACT; m <= QUALITY_LOGPROB && from->n_needles; m++) {
		for (int asked = 0; asked < QUALITY_ASKED; asked++) {
			out[n++] = (struct view){(enum quality_measure)m, asked, -1, -1};
			for (int q = 0; q < QUALITY_QUESTIONS; q++)
				out[n++] = (struct view){(enum quality_measure)m, asked, q, -1};
			for (int third = 0; third < THIRDS; third++)
				out[n++] = (struct view){(enum quality_measure)m, asked, -1, third};
		}
	}
	return n;
}

static int summarize(const struct quality_rows *from, const struct quality_case *cases, int n_cases, int at,
		     const struct view *v, struct quality_summary_row *out, struct error *err)
{
	struct values mine;
	struct stats_interval interval;
	double x[SEEDS_MAX];
	bool best = false;
	int n = 0, rc = 0;
	gather(from, &cases[at], v, &mine);
	for (int i = 0; i < mine.n; i++)
		if (!isnan(mine.of[i]))
			x[n++] = mine.of[i];
	if (stats_bootstrap_mean(x, n, LEVEL, 1, &interval))
		return error_set(err, ERROR_MEMORY, "no memory for the intervals of %d seeds", n);
	/* One value says nothing of what another text would give. */
	if (n < 2)
		interval = (struct stats_interval){NAN, NAN};
	if (cases[at].policy != QUALITY_FULL)
		rc = find_best(from, cases, n_cases, at, v, &mine, &best, err);
	bool log = is_log(v->measure);
	*out = (struct quality_summary_row){.of = cases[at],
					    .measure = v->measure,
					    .asked = v->asked,
					    .question = v->question,
					    .third = v->third,
					    .seeds = n,
					    .mean = log ? exp(stats_mean(x, n)) : stats_mean(x, n),
					    .low = log ? exp(interval.low) : interval.low,
					    .high = log ? exp(interval.high) : interval.high,
					    .best = best};
	return rc;
}

static int compare_cases(const void *a, const void *b)
{
	const struct quality_case *x = a, *y = b;
	const int of[][2] = {{x->context, y->context},
			     {x->window, y->window},
			     {x->budget, y->budget},
			     {(int)x->policy, (int)y->policy},
			     {x->pool, y->pool}};
	for (int i = 0; i < 5; i++)
		if (of[i][0] != of[i][1])
			return of[i][0] < of[i][1] ? -1 : 1;
	return 0;
}

int quality_summary_make(const struct quality_rows *from, struct quality_summary_row **rows, int *n, struct error *err)
{
	struct view views[4 + 2 * QUALITY_ASKED * VIEWS];
	struct quality_case *cases = malloc(CASES_MAX * sizeof *cases);
	int rc = 0, n_views = list_views(from, views), n_cases = cases ? list_cases(from, cases) : 0;
	*n = 0;
	*rows = malloc(((size_t)n_cases * (size_t)n_views + 1) * sizeof **rows);
	if (!cases || !*rows)
		rc = error_set(err, ERROR_MEMORY, "no memory for a summary of %d rows", n_cases * n_views);
	else
		qsort(cases, (size_t)n_cases, sizeof *cases, compare_cases);
	for (int c = 0; c < n_cases && !rc; c++)
		for (int v = 0; v < n_views && !rc; v++) {
			rc = summarize(from, cases, n_cases, c, &views[v], &(*rows)[*n], err);
			*n += !rc;
		}
	free(cases);
	if (rc) {
		free(*rows);
		*rows = NULL;
		*n = 0;
	}
	return rc;
}

/* ---- the table ---- */

enum { TEXT_COLUMNS = 3, COLUMNS = 7, CELL = 24 };

static const struct {
	struct view view;
	const char *head, *name;
	double scale;
	int digits;
} columns[COLUMNS] = {
	{{QUALITY_KL, -1, -1, -1}, "KL, nats", "divergence", 1, 3},
	{{QUALITY_TOP1, -1, -1, -1}, "same top-1, %", "top-1 agreement", 100, 1},
	{{QUALITY_RATIO, -1, -1, -1}, "perplexity / full's", "perplexity", 1, 3},
	{{QUALITY_EXACT, QUALITY_BEFORE, -1, -1}, "asked before: found, %", "needles found, asked before", 100, 0},
	{{QUALITY_LOGPROB, QUALITY_BEFORE, -1, -1}, "log p, nats", "log p of needles, asked before", 1, 2},
	{{QUALITY_EXACT, QUALITY_BEHIND, -1, -1}, "asked behind: found, %", "needles found, asked behind", 100, 0},
	{{QUALITY_LOGPROB, QUALITY_BEHIND, -1, -1}, "log p, nats", "log p of needles, asked behind", 1, 2},
};

static const struct quality_summary_row *find(const struct quality_summary_row *rows, int n,
					      const struct quality_case *c, const struct view *v)
{
	for (int i = 0; i < n; i++)
		if (same_case(&rows[i].of, c) && rows[i].measure == v->measure && rows[i].asked == v->asked &&
		    rows[i].question == v->question && rows[i].third == v->third)
			return &rows[i];
	return NULL;
}

static const char *label(const struct quality_case *c, char text[CELL])
{
	if (c->pool >= 0)
		snprintf(text, CELL, "%s, pool %d", quality_policies[c->policy], c->pool);
	else
		snprintf(text, CELL, "%s", quality_policies[c->policy]);
	return text;
}

static void put_case(FILE *f, const struct quality_summary_row *rows, int n, const struct quality_case *c, int first,
		     int end)
{
	char name[CELL];
	if (c->policy == QUALITY_FULL)
		fprintf(f, "%8s", "all");
	else
		fprintf(f, "%8d", c->budget);
	fprintf(f, "  %-15s", label(c, name));
	for (int k = first; k < end; k++) {
		const struct quality_summary_row *r = find(rows, n, c, &columns[k].view);
		char text[64] = "";
		if (r && isnan(r->low))
			snprintf(text, sizeof text, "%.*f ", columns[k].digits, r->mean * columns[k].scale);
		else if (r)
			snprintf(text, sizeof text, "%.*f [%.*f, %.*f]%s", columns[k].digits,
				 r->mean * columns[k].scale, columns[k].digits, r->low * columns[k].scale,
				 columns[k].digits, r->high * columns[k].scale, r->best ? "*" : " ");
		fprintf(f, "  %*s", CELL, text);
	}
	fputc('\n', f);
}

/* By one measure, at each budget of a context and window; SnapKV may be best with several pools. */
static void put_verdicts(FILE *f, const struct quality_summary_row *rows, int n, const struct quality_case *of, int k)
{
	char name[CELL];
	int budget = -1, n_budgets = 0;
	for (int i = 0; i < n; i++) {
		const struct quality_case *c = &rows[i].of;
		bool any = false;
		if (c->context != of->context || c->window != of->window || c->budget == budget)
			continue;
		budget = c->budget;
		if (n_budgets++)
			fprintf(f, "; %d", budget);
		else
			fprintf(f, "best by %s: %d", columns[k].name, budget);
		for (int j = i; j < n; j++) {
			const struct quality_summary_row *r = &rows[j];
			if (!r->best || r->of.context != of->context || r->of.window != of->window ||
			    r->of.budget != budget || r != find(rows, n, &r->of, &columns[k].view))
				continue;
			fprintf(f, "%s %s", any ? " and" : "", label(&r->of, name));
			any = true;
		}
		if (!any)
			fputs(" none surely", f);
	}
	if (n_budgets)
		fputc('\n', f);
}

/* Columns [first, end), where there are such rows. */
static void put_table(FILE *f, const struct quality_summary_row *rows, int n, const struct quality_case *of, int first,
		      int end)
{
	const struct quality_case *last = NULL;
	if (!find(rows, n, of, &columns[first].view))
		return;
	fprintf(f, "\n%8s  %-15s", "budget", "policy");
	for (int k = first; k < end; k++)
		fprintf(f, "  %*s", CELL - 1, columns[k].head);
	fputc('\n', f);
	for (int i = 0; i < n; i++) {
		const struct quality_case *c = &rows[i].of;
		if (c->context != of->context || (c->window != of->window && c->policy != QUALITY_FULL) ||
		    (last && same_case(last, c)))
			continue;
		put_case(f, rows, n, c, first, end);
		last = c;
	}
}

static void put_block(FILE *f, const struct quality_summary_row *rows, int n, const struct quality_case *of)
{
	const struct quality_case full = {.context = of->context, .policy = QUALITY_FULL, -1, -1, -1};
	const struct quality_summary_row *whole = find(rows, n, &full, &(struct view){QUALITY_PERPLEXITY, -1, -1, -1});
	fprintf(f, "prompts of %d tokens, a window of %d kept by all; ", of->context, of->window);
	if (rows[0].seeds == 1)
		fprintf(f, "of one text, so without intervals");
	else
		fprintf(f, "means over %d texts [95 %%]", rows[0].seeds);
	if (whole)
		fprintf(f, "; the full cache's perplexity %.2f", whole->mean);
	fputc('\n', f);
	put_table(f, rows, n, of, 0, TEXT_COLUMNS);
	put_table(f, rows, n, of, TEXT_COLUMNS, COLUMNS);
	fputs("\n*: better than each other policy at this budget, and not by chance (5 %)\n", f);
	for (int k = 0; k < COLUMNS; k++)
		if (find(rows, n, of, &columns[k].view))
			put_verdicts(f, rows, n, of, k);
}

void quality_summary_print(FILE *f, const struct quality_summary_row *rows, int n)
{
	int context = -1, window = -1;
	bool any = false;
	for (int i = 0; i < n; i++) {
		const struct quality_case *c = &rows[i].of;
		if (c->policy == QUALITY_FULL || (c->context == context && c->window == window))
			continue;
		context = c->context;
		window = c->window;
		if (any)
			fputc('\n', f);
		put_block(f, rows, n, c);
		any = true;
	}
}
