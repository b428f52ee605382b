/* The machines and GPUs of a directory that was merged: said where its cells are shown together. */
#include <math.h>
#include <string.h>

#include "harness/record/result_place.h"
#include "harness/report/report_internal.h"

/* The first directory of the side with cells of several places; null: none has them. */
static const struct result_set *of_several(const struct side *s, struct result_places *places)
{
	for (int i = 0; i < s->n; i++) {
		*places = result_places(s->sets[i]);
		if (places->several)
			return s->sets[i];
	}
	return NULL;
}

const char *report_places(struct report *r, const struct side *s)
{
	struct result_places places;
	char text[RESULT_PLACES_TEXT_SIZE];
	return of_several(s, &places) ? document_text(r->d, "%s", result_places_text(&places, text)) : "";
}

static void say_merged(struct report *r, const struct side *s, const char *whose)
{
	const json_t *merged = json_object_get(s->sets[0]->sweep, "merged");
	const char *missing = json_string_value(json_object_get(merged, "missing")), *places = report_places(r, s);
	struct document_section *to = r->d->sections[0];
	if (*places)
		document_say(
			r->d, to,
			"! %scells were measured on %s. Modes, fusions and SnapKV of one placement and depth ran on "
			"one "
			"of them, next to each other; from depth to depth and from placement to placement the machine "
			"may "
			"be another one, and curves and crossovers over them hold its difference too. Which cell is of "
			"which, section Environment says.",
			whose, places);
	if (missing && *missing)
		document_say(r->d, to, "! %snot all of the sweep: %s.", whose, report_cut(r, missing, 400));
}

void report_say_merged(struct report *r)
{
	say_merged(r, &r->head, r->base.n ? "Here " : "");
	if (r->base.n)
		say_merged(r, &r->base, "In base ");
}

enum { DEPTHS_SHOWN = 12 };

/* "0, 512, 4096": the shallowest of the place's rows. */
static const char *depths_at(struct report *r, const struct result_set *s, const struct result_place *p)
{
	int depths[DEPTHS_SHOWN + 1], n = 0;
	for (size_t i = 0; i < s->n_rows; i++) {
		int depth = s->cells[s->rows[i].cell].n_depth, at = 0;
		if (!result_place_is(p, &s->rows[i]))
			continue;
		while (at < n && depths[at] < depth)
			at++;
		if ((at < n && depths[at] == depth) || at > DEPTHS_SHOWN)
			continue;
		n += n <= DEPTHS_SHOWN;
		memmove(depths + at + 1, depths + at, (size_t)(n - 1 - at) * sizeof *depths);
		depths[at] = depth;
	}
	const char *out = "";
	for (int i = 0; i < n && i < DEPTHS_SHOWN; i++)
		out = document_text(r->d, "%s%s%d", out, i ? ", " : "", depths[i]);
	return n > DEPTHS_SHOWN ? document_text(r->d, "%s, ...", out) : out;
}

void report_add_places(struct report *r, struct document_section *to)
{
	static const struct document_column columns[] = {
		{"machine", 0}, {"GPU", 0}, {"device", 0}, {"runs", 1}, {"depths", 0}};
	for (int side = 0; side < (r->base.n ? 2 : 1); side++) {
		struct result_places places;
		const struct result_set *s = of_several(side ? &r->base : &r->head, &places);
		if (!s)
			continue;
		struct document_table *t = document_table(r->d, to, DOCUMENT_BOTH, columns, 5);
		for (int i = 0; i < places.n; i++) {
			const struct result_place *p = &places.of[i];
			struct document_entry *e = document_row(r->d, t);
			report_put(&e[0], report_cut(r, p->machine, 80), NAN);
			report_put(&e[1], report_cut(r, p->gpu, 60), NAN);
			report_put(&e[2], report_cut(r, p->device, 80), NAN);
			report_put_number(r, &e[3], p->runs);
			report_put(&e[4], depths_at(r, s, p), NAN);
		}
		t->title = side ? "Where base was measured" : "Where it was measured";
		t->source =
			document_text(r->d, "columns machine, gpu and device of runs.csv; env.json has the environment "
					    "of each shard");
		document_drop_empty_columns(r->d, t);
	}
}
