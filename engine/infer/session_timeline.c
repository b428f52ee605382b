/* A token with time stamps: its kernel's, for which there is memory on the device for that token alone, or its
 * launches'. */
#include <stdlib.h>
#include <string.h>

#include "engine/infer/session_internal.h"

static size_t stamps_of(const struct token_timeline *t)
{
	return (size_t)t->n_blocks * (size_t)t->n_phases * PERSISTENT_STAMPS;
}

void token_timeline_free(struct token_timeline *t)
{
	free(t->phases);
	free(t->multiprocessors);
	free(t->ns);
	*t = (struct token_timeline){0};
}

/* raw: (stamps_of), 0 where nothing was left, then (n_blocks). */
static int take(struct token_timeline *t, const unsigned long long *raw, struct error *err)
{
	size_t n = stamps_of(t);
	unsigned long long first = 0;
	for (size_t i = 0; i < n; i++)
		if (raw[i] && (!first || raw[i] < first))
			first = raw[i];
	for (size_t i = 0; i < n; i++)
		t->ns[i] = raw[i] ? (int64_t)(raw[i] - first) : -1;
	for (int b = 0; b < t->n_blocks; b++)
		t->multiprocessors[b] = (int)raw[n + (size_t)b];
	for (size_t i = 0; i < n; i += PERSISTENT_STAMPS)
		if (t->ns[i + PERSISTENT_ENTERED] < 0 || t->ns[i + PERSISTENT_PUBLISHED] < 0)
			return error_set(err, ERROR_DEVICE, "a token's kernel left no time stamps of phase %zu",
					 i / PERSISTENT_STAMPS % (size_t)t->n_phases);
	return 0;
}

static int decode(struct session *s, int token, struct error *err)
{
	const enum graph_mode mode = s->mode;
	s->mode = GRAPH_MODE_DIRECT; /* a captured kernel's params have no stamps */
	int rc = session_decode(s, token, NULL, err);
	s->mode = mode;
	return rc;
}

static int decode_program(struct session *s, int token, struct token_timeline *out, struct error *err)
{
	struct forward *f = pipeline_head(&s->pipeline);
	int rc = session_prepare(s, err);
	if (rc)
		return rc;
	out->n_blocks = f->persistent.params.n_blocks;
	out->n_phases = f->persistent.n_phases;
	size_t n = stamps_of(out), blocks = (size_t)out->n_blocks, bytes = (n + blocks) * sizeof *f->stamps;
	unsigned long long *raw = calloc(n + blocks, sizeof *raw);
	void *memory = NULL;
	out->phases = calloc((size_t)out->n_phases, sizeof *out->phases);
	out->multiprocessors = calloc(blocks, sizeof *out->multiprocessors);
	out->ns = calloc(n, sizeof *out->ns);
	if (!raw || !out->phases || !out->multiprocessors || !out->ns)
		rc = error_set(err, ERROR_MEMORY, "no memory for the %zu time stamps of a token", n);
	if (!rc) {
		memcpy(out->phases, f->persistent.labels, (size_t)out->n_phases * sizeof *out->phases);
		memset(raw + n, -1, blocks * sizeof *raw);
		rc = device_alloc(f->device, bytes, &memory, err);
	}
	if (!rc)
		rc = device_upload(f->device, memory, raw, bytes, err);
	f->stamps = memory;
	if (!rc)
		rc = decode(s, token, err);
	f->stamps = NULL;
	if (!rc)
		rc = device_download(f->device, raw, memory, bytes, err);
	if (!rc)
		rc = take(out, raw, err);
	device_free(f->device, memory);
	free(raw);
	return rc;
}

/* ---- launches ---- */

/* When the first multiprocessor that has a part of launch i had its input: then those in front of it are complete. */
static int64_t begin_of(const struct device_stamps *d, int i)
{
	int64_t begin = -1;
	for (int r = 0; r < d->n_rows; r++) {
		int64_t ns =
			d->ns[((size_t)r * (size_t)d->n_launches + (size_t)i) * DEVICE_STAMPS + DEVICE_STAMP_INPUT];
		if (ns >= 0 && (begin < 0 || ns < begin))
			begin = ns;
	}
	return begin;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* A multiprocessor has blocks of the next launch before its last of this one has left: they count from then on. */
static void fill_row(struct token_timeline *t, const struct device_stamps *d, const int64_t *begins, int row)
{
	int64_t left = 0;
	for (int i = 0; i < t->n_phases; i++) {
		size_t at = (size_t)row * (size_t)t->n_phases + (size_t)i;
		const int64_t *from = d->ns + at * DEVICE_STAMPS;
		int64_t *to = t->ns + at * PERSISTENT_STAMPS;
		if (from[DEVICE_STAMP_ENTERED] < 0) {
			to[PERSISTENT_ENTERED] = left;
			to[PERSISTENT_INPUT] = to[PERSISTENT_WORKED] = -1;
			left = later(left, i + 1 < t->n_phases ? begins[i + 1] : begins[i]);
		} else {
			to[PERSISTENT_ENTERED] = later(from[DEVICE_STAMP_ENTERED], left);
			to[PERSISTENT_INPUT] = later(from[DEVICE_STAMP_INPUT], to[PERSISTENT_ENTERED]);
			left = later(from[DEVICE_STAMP_LEFT], to[PERSISTENT_INPUT]);
			to[PERSISTENT_WORKED] = left;
		}
		to[PERSISTENT_PUBLISHED] = left;
	}
}

static int take_launches(struct token_timeline *t, const struct device_stamps *d, struct error *err)
{
	t->n_blocks = d->n_rows;
	t->n_phases = d->n_launches;
	int64_t *begins = calloc((size_t)t->n_phases + 1, sizeof *begins);
	t->phases = calloc((size_t)t->n_phases + 1, sizeof *t->phases);
	t->multiprocessors = calloc((size_t)t->n_blocks + 1, sizeof *t->multiprocessors);
	t->ns = calloc(stamps_of(t) + 1, sizeof *t->ns);
	int rc = begins && t->phases && t->multiprocessors && t->ns
			 ? 0
			 : error_set(err, ERROR_MEMORY, "no memory for the %zu time stamps of a token", stamps_of(t));
	for (int i = 0; i < t->n_phases && !rc; i++) {
		begins[i] = begin_of(d, i);
		t->phases[i] = (struct phase_label){(enum phase_kind)d->labels[i].kind, d->labels[i].layer};
	}
	for (int r = 0; r < t->n_blocks && !rc; r++) {
		t->multiprocessors[r] = d->multiprocessors[r];
		fill_row(t, d, begins, r);
	}
	free(begins);
	return rc;
}

static int decode_launches(struct session *s, int token, struct token_timeline *out, struct error *err)
{
	struct device_stamps stamps = {0};
	int rc;
	if ((rc = session_check_tokens(s, &token, 1, err)) || (rc = pipeline_check(&s->pipeline, 1, err)))
		return rc;
	s->has_logits = s->logits_on_host = false;
	pipeline_set_trace(&s->pipeline, false);
	rc = pipeline_token_stamped(&s->pipeline, token, s->mode != GRAPH_MODE_DIRECT, &stamps, err);
	if (!rc) {
		s->logits_row = 0;
		s->has_logits = true;
		rc = take_launches(out, &stamps, err);
	}
	device_stamps_free(&stamps);
	return rc;
}

int session_decode_stamped(struct session *s, int token, struct token_timeline *out, struct error *err)
{
	*out = (struct token_timeline){0};
	return pipeline_head(&s->pipeline)->fusion == FUSION_PERSISTENT ? decode_program(s, token, out, err)
									: decode_launches(s, token, out, err);
}
