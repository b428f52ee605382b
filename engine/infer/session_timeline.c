/* A token with time stamps: its kernel's, for which there is memory on the device for that token alone, or its
 * launches'. */
#include <stdlib.h>
#include <string.h>

#include "engine/infer/launch_timeline.h"
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
		rc = launch_timeline(out, &stamps, err);
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
