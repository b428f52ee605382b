#include "harness/measure/pass_timeline.h"

enum { TOKENS = 4 }; /* the stamped one and those that get the device going before it */

/* All but the last token directly: graphs would be left to the runs that follow, whose captures are counted. */
static int decode(struct pass_setup *s, const struct cell *c, const char *mode, const int *tokens, int n_tokens,
		  uint64_t *hash, struct timeline_stamp **out, int *n, struct error *err)
{
	const struct workload_ops *ops = s->w->ops;
	int rc = ops->set_arm(s->w, MODE_REFERENCE, c->fusion, err);
	if (!rc)
		rc = ops->rewind(s->w, c->n_depth, err);
	if (!rc && c->n_prompt)
		rc = ops->prefill(s->w, s->tokens, c->n_prompt, err);
	if (!rc && c->n_prompt)
		rc = ops->hash(s->w, 0, hash, err);
	for (int i = 0; i < n_tokens && !rc; i++) {
		struct token_record unused = {0};
		if (i + 1 == n_tokens && (rc = ops->set_arm(s->w, mode, c->fusion, err)))
			break;
		rc = i + 1 < n_tokens ? ops->decode(s->w, tokens[i], &unused, err)
				      : ops->timeline(s->w, tokens[i], out, n, err);
		if (!rc)
			rc = ops->hash(s->w, *hash, hash, err);
	}
	return rc;
}

int pass_timeline(struct pass_setup *s, const struct cell *c, const char *mode, const uint64_t *expected,
		  struct timeline_stamp **out, int *n, struct error *err)
{
	int n_tokens = c->n_gen < TOKENS ? c->n_gen : TOKENS;
	uint64_t hash = 0;
	*out = NULL;
	*n = 0;
	token_fill(&s->stream, c->n_depth, c->n_prompt + n_tokens, s->tokens);
	int rc = decode(s, c, mode, s->tokens + c->n_prompt, n_tokens, &hash, out, n, err);
	if (!rc && hash != expected[(c->n_prompt > 0) + n_tokens - 1])
		rc = error_set(err, ERROR_WRONG, "logits differ from the direct reference");
	return rc ? error_prefix(err, rc, "timeline") : 0;
}
