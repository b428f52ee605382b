/* What benchmark_compare found, printed. */
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "harness/report/benchmark_compare.h"

enum { NAME_SIZE = 1024 };

/* A name where it cannot end a cell or begin markup. */
static void safe_name(char out[NAME_SIZE], const char *name, int markdown)
{
	text_escape(out, NAME_SIZE, name);
	for (char *p = out; markdown && *p; p++)
		if (strchr("|<>`*[]", *p))
			*p = '/';
}

/* What the sides are of; of what they differ in, all; of bandwidths those that are further apart than times may be. */
static void write_sides(const struct benchmark_comparison *c, int markdown, FILE *f)
{
	const struct benchmark_sides *s = &c->sides;
	char one[NAME_SIZE], other[NAME_SIZE];
	if (*s->base_commit || *s->head_commit) {
		safe_name(one, *s->base_commit ? s->base_commit : "unknown", markdown);
		safe_name(other, *s->head_commit ? s->head_commit : "unknown", markdown);
		fprintf(f, "Base is of commit %s, head of %s.\n", one, other);
	}
	for (int i = 0; i < s->n_differences; i++) {
		safe_name(one, s->differences[i].base, markdown);
		safe_name(other, s->differences[i].other, markdown);
		fprintf(f, "The sides were not measured alike: %s: %s there, %s here.\n", s->differences[i].name, one,
			other);
	}
	for (int i = 0; i < BENCHMARK_RATES; i++) {
		const double base = s->rates[i].base, head = s->rates[i].head;
		if (fabs(head / base - 1) > c->options.verdict.delta) /* not, where one is unknown */
			fprintf(f, "The sides measured other bandwidths: %s: %.1f in base, %.1f in head (%+.1f %%).\n",
				benchmark_rate_name(i), base, head, 100 * (head / base - 1));
	}
}

static void sentence(const struct benchmark_comparison *c, FILE *f)
{
	const int *n = c->count;
	fprintf(f, "%d benchmark%s: %d slower, %d faster, %d the same within %g %%, %d cannot be told", c->n,
		c->n == 1 ? "" : "s", n[COMPARE_SLOWER], n[COMPARE_FASTER], n[COMPARE_SAME],
		100 * c->options.verdict.delta, n[COMPARE_UNCLEAR]);
	if (n[COMPARE_WRONG])
		fprintf(f, ", %d wrong", n[COMPARE_WRONG]);
	if (n[COMPARE_LOST])
		fprintf(f, ", %d run no more", n[COMPARE_LOST]);
	if (n[COMPARE_GAINED] + n[COMPARE_NOT_RUN])
		fprintf(f, ", %d did not run in base", n[COMPARE_GAINED] + n[COMPARE_NOT_RUN]);
	fputs(".\n", f);
	if (c->left_out)
		fprintf(f, "%d of one side alone are left out.\n", c->left_out);
	if (c->single_process)
		fprintf(f, "One process a side: a change counts only beyond %g %%.\n", 100 * c->options.process);
	for (int i = 0; i < c->n; i++)
		if (c->changes[i].verdict.p_least >= c->options.verdict.alpha / c->n && c->changes[i].n &&
		    c->changes[i].m) {
			fprintf(f,
				"With so few measurements nothing can be called different: %d a side would do for %d "
				"benchmarks.\n",
				c->least_units, c->n);
			break;
		}
}

static void change_text(const struct benchmark_change *k, char effect[32], char interval[64])
{
	const struct verdict *v = &k->verdict;
	if (isfinite(v->effect))
		snprintf(effect, 32, "%+.2f %%", 100 * v->effect);
	else
		snprintf(effect, 32, "-");
	if (isfinite(v->low) && isfinite(v->high))
		snprintf(interval, 64, "%+.2f to %+.2f", 100 * v->low, 100 * v->high);
	else
		snprintf(interval, 64, "-");
}

static void write_rows(const struct benchmark_comparison *c, int markdown, int all, FILE *f)
{
	static const char *const heads[] = {"benchmark", "base us", "head us", "change", "interval, %", "n", "outcome"};
	int width = (int)strlen(heads[0]), shown = 0;
	char name[NAME_SIZE], effect[32], interval[64], units[32];
	for (int i = 0; i < c->n; i++) {
		safe_name(name, c->changes[i].name, markdown);
		int w = text_width(name);
		if (all || c->changes[i].outcome != COMPARE_SAME) {
			width = w > width ? w : width;
			shown++;
		}
	}
	if (!shown)
		return;
	fputc('\n', f);
	const char *row = markdown ? "| %s%*s | %12s | %12s | %12s | %22s | %9s | %s |\n"
				   : "%s%*s  %12s  %12s  %12s  %22s  %9s  %s\n";
	fprintf(f, row, heads[0], width - (int)strlen(heads[0]), "", heads[1], heads[2], heads[3], heads[4], heads[5],
		heads[6]);
	if (markdown)
		fputs("| :-- | --: | --: | --: | --: | --: | :-- |\n", f);
	for (int i = 0; i < c->n; i++) {
		const struct benchmark_change *k = &c->changes[i];
		char base[32] = "-", head[32] = "-", outcome[NAME_SIZE + 64], why[NAME_SIZE];
		if (!all && k->outcome == COMPARE_SAME)
			continue;
		safe_name(name, k->name, markdown);
		change_text(k, effect, interval);
		if (k->n)
			snprintf(base, sizeof base, "%.4g", k->base);
		if (k->m)
			snprintf(head, sizeof head, "%.4g", k->head);
		snprintf(units, sizeof units, "%d, %d", k->n, k->m);
		safe_name(why, k->reason ? k->reason : "", markdown);
		snprintf(outcome, sizeof outcome, "%s%s%s", compare_outcome_name(k->outcome), *why ? ": " : "", why);
		fprintf(f, row, name, width - text_width(name), "", base, head, effect, interval, units, outcome);
	}
}

/* A field of a CSV: in quotes, each quote twice. */
static void csv_text(FILE *f, const char *text)
{
	char name[NAME_SIZE];
	text_escape(name, sizeof name, text);
	fputc('"', f);
	for (const char *p = name; *p; p++)
		fprintf(f, *p == '"' ? "\"\"" : "%c", *p);
	fputc('"', f);
}

static void csv_number(FILE *f, double x)
{
	if (isfinite(x))
		fprintf(f, ",%.9g", x);
	else
		fputc(',', f);
}

static void write_csv(const struct benchmark_comparison *c, FILE *f)
{
	fputs("benchmark,n_base,n_head,base_us,head_us,effect,low,high,p,p_holm,outcome\n", f);
	for (int i = 0; i < c->n; i++) {
		const struct benchmark_change *k = &c->changes[i];
		const double numbers[] = {k->base,         k->head,      k->verdict.effect, k->verdict.low,
					  k->verdict.high, k->verdict.p, k->verdict.p_holm};
		csv_text(f, k->name);
		fprintf(f, ",%d,%d", k->n, k->m);
		for (int n = 0; n < 7; n++)
			csv_number(f, numbers[n]);
		fprintf(f, ",%s\n", compare_outcome_name(k->outcome));
	}
}

static json_t *number(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

/* {"gpu": ["G", "another GPU"]}; null without memory */
static json_t *differences(const struct benchmark_sides *s)
{
	json_t *all = json_object();
	for (int i = 0; i < s->n_differences; i++)
		json_object_set_new(all, s->differences[i].name,
				    json_pack("[s, s]", s->differences[i].base, s->differences[i].other));
	return all;
}

/* {"gpu_copy_gb_s": [2990.1, 2988.4]}, of those that a side says */
static json_t *bandwidths(const struct benchmark_sides *s)
{
	json_t *all = json_object();
	for (int i = 0; i < BENCHMARK_RATES; i++)
		if (!isnan(s->rates[i].base) || !isnan(s->rates[i].head))
			json_object_set_new(all, benchmark_rate_name(i),
					    json_pack("[o, o]", number(s->rates[i].base), number(s->rates[i].head)));
	return all;
}

static int write_json(const struct benchmark_comparison *c, FILE *f, struct error *err)
{
	json_t *list = json_array();
	int rc = list ? 0 : -1;
	for (int i = 0; i < c->n && !rc; i++) {
		const struct benchmark_change *k = &c->changes[i];
		const struct verdict *v = &k->verdict;
		rc = json_array_append_new(
			list, json_pack("{s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s?}", "name",
					k->name, "n_base", k->n, "n_head", k->m, "base_us", number(k->base), "head_us",
					number(k->head), "effect", number(v->effect), "low", number(v->low), "high",
					number(v->high), "p", number(v->p), "p_holm", number(v->p_holm), "outcome",
					compare_outcome_name(k->outcome), "reason", k->reason));
	}
	json_t *root =
		rc ? NULL
		   : json_pack("{s:i, s:s, s:s, s:o, s:o, s:b, s:i, s:O}", "exit_code", benchmark_compare_code(c),
			       "base_commit", c->sides.base_commit, "head_commit", c->sides.head_commit,
			       "environment_differences", differences(&c->sides), "bandwidths", bandwidths(&c->sides),
			       "single_process", c->single_process, "left_out", c->left_out, "benchmarks", list);
	json_decref(list);
	if (!root)
		return error_set(err, ERROR_MEMORY, "no memory for the comparison's JSON");
	json_dumpf(root, f, JSON_INDENT(1)); /* what the stream says is the caller's to look at */
	fputc('\n', f);
	json_decref(root);
	return 0;
}

int benchmark_compare_write(const struct benchmark_comparison *c, enum compare_format format, int all, FILE *f,
			    struct error *err)
{
	if (format == COMPARE_FORMAT_JSON)
		return write_json(c, f, err);
	if (format == COMPARE_FORMAT_CSV) {
		write_csv(c, f);
		return 0;
	}
	sentence(c, f);
	write_sides(c, format == COMPARE_FORMAT_MD, f);
	write_rows(c, format == COMPARE_FORMAT_MD, all, f);
	return 0;
}
