#include "harness/record/result_place.h"

#include <stdio.h>
#include <string.h>

static const char *known(const char *text)
{
	return text ? text : "";
}

int result_place_is(const struct result_place *p, const struct run_row *row)
{
	return !strcmp(p->machine, known(row->machine)) && !strcmp(p->gpu, known(row->gpu));
}

/* Of the first n places, those whose text is not an earlier one's, nor unknown. */
static int count_different(const struct result_places *p, const char *(*text)(const struct result_place *))
{
	int different = 0;
	for (int i = 0; i < p->n; i++) {
		int before = 0;
		while (before < i && strcmp(text(&p->of[before]), text(&p->of[i])))
			before++;
		different += before == i && *text(&p->of[i]);
	}
	return different;
}

static const char *machine_of(const struct result_place *p)
{
	return p->machine;
}

static const char *gpu_of(const struct result_place *p)
{
	return p->gpu;
}

struct result_places result_places(const struct result_set *s)
{
	struct result_places out = {.n = 0};
	int last = 0;
	for (size_t i = 0; i < s->n_rows; i++) {
		const struct run_row *row = &s->rows[i];
		int at = last < out.n && result_place_is(&out.of[last], row) ? last : 0;
		while (at < out.n && !result_place_is(&out.of[at], row))
			at++;
		if (at == RESULT_PLACES_MAX) {
			out.more++;
			continue;
		}
		if (at == out.n)
			out.of[out.n++] = (struct result_place){known(row->machine), known(row->gpu), "", 0};
		if (!*out.of[at].device)
			out.of[at].device = known(row->device);
		out.of[at].runs++;
		last = at;
	}
	out.machines = count_different(&out, machine_of);
	out.gpus = count_different(&out, gpu_of);
	out.several = out.machines > 1 || out.gpus > 1 || out.more;
	return out;
}

static int differ(const char *a, const char *b)
{
	return a && b && *a && *b && strcmp(a, b);
}

int result_place_differs(const struct run_row *a, const struct run_row *b)
{
	return differ(a->machine, b->machine) || differ(a->gpu, b->gpu);
}

const char *result_places_text(const struct result_places *p, char out[RESULT_PLACES_TEXT_SIZE])
{
	const char *more = p->more ? "at least " : "";
	*out = '\0';
	if (p->several && p->gpus)
		snprintf(out, RESULT_PLACES_TEXT_SIZE, "%s%d machine%s, %d GPU%s", more, p->machines,
			 p->machines == 1 ? "" : "s", p->gpus, p->gpus == 1 ? "" : "s");
	else if (p->several)
		snprintf(out, RESULT_PLACES_TEXT_SIZE, "%s%d machines", more, p->machines);
	return out;
}
