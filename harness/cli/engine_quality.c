#include "harness/cli/engine_quality.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct engine_quality *engine(struct quality_subject *q)
{
	return (struct engine_quality *)q;
}

static int encode(struct quality_subject *q, const char *text, int *out, int most, int *n, struct error *err)
{
	struct token_ids ids = {0};
	int rc = tokenizer_encode(engine(q)->tokenizer, text, strlen(text), false, &ids, err);
	if (!rc && ids.n > (size_t)most)
		rc = error_set(err, ERROR_INPUT, "a needle is %zu tokens in this vocabulary, more than %d: --needles 0",
			       ids.n, most);
	if (!rc) {
		memcpy(out, ids.ids, ids.n * sizeof *out);
		*n = (int)ids.n;
	}
	token_ids_free(&ids);
	return rc;
}

static int keep(struct engine_quality *e, struct engine_prompt *p, struct error *err)
{
	p->n = session_snapshot_bytes(e->session);
	if (p->n > p->room) {
		free(p->bytes);
		p->bytes = malloc(p->n);
		p->room = p->bytes ? p->n : 0;
	}
	if (!p->bytes)
		return error_set(err, ERROR_MEMORY, "no memory for a prompt's cache of %zu bytes", p->n);
	return session_snapshot(e->session, p->bytes, err);
}

static int base(struct quality_subject *q, const int *tokens, int n, struct error *err)
{
	struct engine_quality *e = engine(q);
	static const struct snapkv_options off = {0};
	e->n_base = n;
	int rc = session_rewind(e->session, 0, err);
	if (!rc)
		rc = session_observe(e->session, &off, 0, err);
	if (!rc)
		rc = session_prefill(e->session, tokens, n, NULL, err);
	return rc ? rc : keep(e, &e->base, err);
}

/* A session at position 0 watches a prompt that ends at e->end; then it is where the snapshot is. */
static int resume(struct engine_quality *e, const struct engine_prompt *p, const struct snapkv_options *o,
		  struct error *err)
{
	int rc = session_rewind(e->session, 0, err);
	if (!rc)
		rc = session_observe(e->session, o, e->end, err);
	return rc ? rc : session_restore(e->session, p->bytes, p->n, err);
}

static int prompt(struct quality_subject *q, const int *tokens, int n, int window, struct error *err)
{
	struct engine_quality *e = engine(q);
	/* Any budget that evicts has the window's queries kept. */
	const struct snapkv_options watch = {.budget = window, .window = window, .pool = 1};
	e->end = e->n_base + n;
	int rc = resume(e, &e->base, &watch, err);
	if (!rc)
		rc = session_prefill(e->session, tokens, n, NULL, err);
	return rc ? rc : keep(e, &e->prompt, err);
}

static enum kv_policy policy_of(enum quality_policy p)
{
	int policy = kv_policy_parse(quality_policies[p]);
	assert(policy >= 0);
	return (enum kv_policy)policy;
}

static int evict(struct quality_subject *q, const struct quality_choice *c, struct error *err)
{
	struct engine_quality *e = engine(q);
	struct session_eviction done;
	struct snapkv_options o = {0};
	if (c->of.policy != QUALITY_FULL)
		o = (struct snapkv_options){.budget = c->of.budget,
					    .window = c->of.window,
					    .pool = c->of.pool > 0 ? c->of.pool : 1,
					    .policy = policy_of(c->of.policy),
					    .sinks = c->sinks,
					    .seed = c->seed};
	int rc = resume(e, &e->prompt, &o, err);
	return rc ? rc : session_evict(e->session, &done, err);
}

static int mark(struct quality_subject *q, struct error *err)
{
	return session_checkpoint(engine(q)->session, err);
}

static int back(struct quality_subject *q, struct error *err)
{
	return session_rewind(engine(q)->session, engine(q)->end, err);
}

static int feed(struct quality_subject *q, const int *tokens, int n, float *logits, struct error *err)
{
	struct session *s = engine(q)->session;
	int rc = session_prefill(s, tokens, n, logits, err);
	for (int i = 0; i < n && logits && !rc; i++)
		rc = session_check_logits(s, logits + (size_t)i * (size_t)q->n_vocab, session_position(s) - n + i, err);
	return rc;
}

static const struct quality_subject_ops ops = {
	.encode = encode,
	.base = base,
	.prompt = prompt,
	.evict = evict,
	.mark = mark,
	.back = back,
	.feed = feed,
};

void engine_quality_init(struct engine_quality *e, struct session *s, const struct tokenizer *t)
{
	const struct vocabulary *v = tokenizer_vocabulary(t);
	*e = (struct engine_quality){
		.subject = {.ops = &ops, .n_vocab = session_model(s)->n_vocab, .begin = v->add_bos ? v->bos : -1},
		.session = s,
		.tokenizer = t};
}

void engine_quality_free(struct engine_quality *e)
{
	free(e->base.bytes);
	free(e->prompt.bytes);
	e->base = e->prompt = (struct engine_prompt){0};
}
