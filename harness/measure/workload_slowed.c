#include "harness/measure/workload_slowed.h"

#include <stdlib.h>
#include <time.h>

struct slowed {
	struct workload base;
	struct workload *inner;
	const struct slowed_source *source;
};

static struct workload *inner(struct workload *w)
{
	return ((struct slowed *)w)->inner;
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void slowed_close(struct workload *w)
{
	inner(w)->ops->close(inner(w));
	free(w);
}

static void slowed_facts(struct workload *w, struct workload_facts *out)
{
	inner(w)->ops->facts(inner(w), out);
}

static int slowed_set_arm(struct workload *w, const char *mode, const char *fusion, struct error *err)
{
	return inner(w)->ops->set_arm(inner(w), mode, fusion, err);
}

static int slowed_prefill(struct workload *w, const int *tokens, int n, struct error *err)
{
	return inner(w)->ops->prefill(inner(w), tokens, n, err);
}

static int slowed_fetch(struct workload *w, struct prompt_record *out, struct error *err)
{
	return inner(w)->ops->fetch(inner(w), out, err);
}

static int slowed_checkpoint(struct workload *w, struct error *err)
{
	return inner(w)->ops->checkpoint(inner(w), err);
}

static int slowed_rewind(struct workload *w, int pos, struct error *err)
{
	return inner(w)->ops->rewind(inner(w), pos, err);
}

static int slowed_decode(struct workload *w, int token, struct token_record *out, struct error *err)
{
	int rc = inner(w)->ops->decode(inner(w), token, out, err);
	const struct slowed_source *s = ((struct slowed *)w)->source;
	if (rc || s->share <= 0)
		return rc;
	int64_t extra = (int64_t)(out->wall_us * s->share * 1e3);
	if (s->wait)
		s->wait(s->wait_ctx, extra);
	for (int64_t until = out->done_ns + extra; !s->wait && now_ns() < until;)
		;
	out->done_ns += extra;
	out->wall_us += (double)extra / 1e3;
	return 0;
}

static int slowed_hash(struct workload *w, uint64_t seed, uint64_t *out, struct error *err)
{
	return inner(w)->ops->hash(inner(w), seed, out, err);
}

static void slowed_totals(struct workload *w, struct workload_totals *out)
{
	inner(w)->ops->totals(inner(w), out);
}

static double slowed_prefill_flops(struct workload *w, int pos, int n)
{
	return inner(w)->ops->prefill_flops(inner(w), pos, n);
}

static int64_t slowed_kv_bytes_read(struct workload *w, int pos)
{
	return inner(w)->ops->kv_bytes_read(inner(w), pos);
}

static const char *slowed_fallback_reason(struct workload *w)
{
	return inner(w)->ops->fallback_reason(inner(w));
}

static int slowed_open(struct workload_source *base, const struct placement *p, struct workload **out,
		       struct error *err)
{
	static const struct workload_ops ops = {
		.close = slowed_close,
		.facts = slowed_facts,
		.set_arm = slowed_set_arm,
		.prefill = slowed_prefill,
		.fetch = slowed_fetch,
		.checkpoint = slowed_checkpoint,
		.rewind = slowed_rewind,
		.decode = slowed_decode,
		.hash = slowed_hash,
		.totals = slowed_totals,
		.prefill_flops = slowed_prefill_flops,
		.kv_bytes_read = slowed_kv_bytes_read,
		.fallback_reason = slowed_fallback_reason,
	};
	struct slowed_source *s = (struct slowed_source *)base;
	struct slowed *w = calloc(1, sizeof *w);
	if (!w)
		return error_set(err, ERROR_MEMORY, "no memory for a workload");
	*w = (struct slowed){.base.ops = &ops, .source = s};
	int rc = s->inner->open(s->inner, p, &w->inner, err);
	if (rc) {
		free(w);
		return rc;
	}
	*out = &w->base;
	return 0;
}

void slowed_init(struct slowed_source *s, struct workload_source *inner_source)
{
	*s = (struct slowed_source){.base.open = slowed_open, .inner = inner_source};
}
