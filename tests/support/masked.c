#include "tests/support/masked.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_ops.h"
#include "kernels/cpu/cpu.h"

/* The queries of one layer's chunk. */
struct chunk {
	int cache;
	int pos, n, n_heads;
	float scale;
	float *q; /* (n, n_heads, head_dim) */
};

struct cache {
	struct kv kv;
	struct masked_kept kept;
	bool *visible; /* (n_kv_heads, n_prompt) */
};

struct masked {
	struct device *d;
	const struct device_ops *real;
	struct device_ops ops;
	struct cache caches[MASKED_MAX_CACHES];
	int n_caches;
	struct masked_kept evicted[MASKED_MAX_CACHES];
	int n_evicted;
	struct chunk *chunks;
	int n_chunks, cap_chunks;
	int n_prompt; /* of the election */
	bool applied;
};

enum { MAX_OPEN = 4 };
static struct masked *opened[MAX_OPEN]; /* device_ops carry no context: found by the device */

static struct masked *of(struct device *d)
{
	for (int i = 0; i < MAX_OPEN; i++)
		if (opened[i] && opened[i]->d == d)
			return opened[i];
	fail_msg("a device without its mask");
	return NULL;
}

static void *fetch(struct masked *m, const void *from, size_t bytes)
{
	struct error err;
	void *to = malloc(bytes);
	assert_non_null(to);
	if (m->real->synchronize(m->d, &err) || m->real->download(m->d, to, from, bytes, &err))
		fail_msg("%s", err.text);
	return to;
}

/* k or v of a cache as floats, (n_kv_heads, capacity, head_dim). */
static float *fetch_cache(struct masked *m, const struct kv *kv, bool values)
{
	size_t n = (size_t)kv->n_kv_heads * (size_t)kv->capacity * (size_t)kv->head_dim;
	enum tensor_type type = (enum tensor_type)(values ? kv->v_type : kv->type);
	void *raw = fetch(m, values ? kv->v : kv->k, tensor_type_bytes(type, n));
	float *x = malloc(n * sizeof *x);
	assert_non_null(x);
	cpu_to_f32(raw, type, x, n);
	free(raw);
	return x;
}

static int cache_of(struct masked *m, const struct kv *kv)
{
	for (int i = 0; i < m->n_caches; i++)
		if (m->caches[i].kv.k == kv->k)
			return i;
	assert_true(m->n_caches < MASKED_MAX_CACHES && kv->n_kv_heads <= MASKED_MAX_HEADS);
	m->caches[m->n_caches].kv = *kv;
	return m->n_caches++;
}

static double dot(const float *a, const float *b, int n)
{
	double sum = 0;
	for (int i = 0; i < n; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

/* p[j] = softmax over keys 0 .. n of q . k, where visible (null: all); elsewhere 0. */
static void probabilities(const float *q, const float *keys, int n, int head_dim, double scale, const bool *visible,
			  int n_masked, double *p)
{
	double most = -HUGE_VAL, sum = 0;
	for (int j = 0; j < n; j++) {
		p[j] = visible && j < n_masked && !visible[j]
			       ? -HUGE_VAL
			       : scale * dot(q, keys + (size_t)j * (size_t)head_dim, head_dim);
		most = p[j] > most ? p[j] : most;
	}
	for (int j = 0; j < n; j++)
		sum += p[j] = exp(p[j] - most);
	for (int j = 0; j < n; j++)
		p[j] /= sum;
}

static void attend(struct masked *m, int cache, const struct kv *kv, int pos, int n, int n_heads, double scale,
		   const float *q_on_device, float *y_on_device)
{
	const struct cache *c = &m->caches[cache];
	int hd = kv->head_dim, group = n_heads / kv->n_kv_heads;
	size_t row = (size_t)n_heads * (size_t)hd;
	float *q = fetch(m, q_on_device, (size_t)n * row * sizeof *q), *y = malloc((size_t)n * row * sizeof *y);
	float *keys = fetch_cache(m, kv, false), *values = fetch_cache(m, kv, true);
	double *p = malloc((size_t)kv->capacity * sizeof *p), *sums = malloc((size_t)hd * sizeof *sums);
	assert_true(y && p && sums && pos + n <= kv->capacity);
	for (int t = 0; t < n; t++) {
		for (int h = 0; h < n_heads; h++) {
			size_t head = (size_t)(h / group) * (size_t)kv->capacity * (size_t)hd;
			size_t at = (size_t)t * row + (size_t)h * (size_t)hd;
			probabilities(q + at, keys + head, pos + t + 1, hd, scale,
				      c->visible + (size_t)(h / group) * (size_t)m->n_prompt, m->n_prompt, p);
			memset(sums, 0, (size_t)hd * sizeof *sums);
			for (int j = 0; j <= pos + t; j++)
				for (int i = 0; p[j] > 0 && i < hd; i++)
					sums[i] += p[j] * (double)values[head + (size_t)j * (size_t)hd + (size_t)i];
			for (int i = 0; i < hd; i++)
				y[at + (size_t)i] = (float)sums[i];
		}
	}
	struct error err;
	if (m->real->upload(m->d, y_on_device, y, (size_t)n * row * sizeof *y, &err))
		fail_msg("%s", err.text);
	free(q);
	free(y);
	free(keys);
	free(values);
	free(p);
	free(sums);
}

static void remember(struct masked *m, int cache, const struct attention_prefill_params *p)
{
	if (m->n_chunks == m->cap_chunks) {
		m->cap_chunks = m->cap_chunks ? 2 * m->cap_chunks : 64;
		m->chunks = realloc(m->chunks, (size_t)m->cap_chunks * sizeof *m->chunks);
		assert_non_null(m->chunks);
	}
	m->chunks[m->n_chunks++] = (struct chunk){
		.cache = cache,
		.pos = p->at.host.pos,
		.n = p->n_tokens,
		.n_heads = p->n_heads,
		.scale = p->scale,
		.q = fetch(m, p->q, (size_t)p->n_tokens * (size_t)p->n_heads * (size_t)p->kv.head_dim * sizeof(float)),
	};
}

static void kept_set(struct masked_kept *k, int n_heads, int n, int *slots)
{
	free(k->slots);
	*k = (struct masked_kept){n_heads, n, slots};
}

static int launch(struct device *d, enum kernel k, const void *params, struct error *err)
{
	struct masked *m = of(d);
	if (k == KERNEL_attention_prefill) {
		const struct attention_prefill_params *p = params;
		if (p->kv.ring == 0 && p->at.host.evicted == 0) {
			int cache = cache_of(m, &p->kv);
			remember(m, cache, p);
			if (m->applied) {
				attend(m, cache, &p->kv, p->at.host.pos, p->n_tokens, p->n_heads, (double)p->scale,
				       p->q, p->y);
				return 0;
			}
		}
	} else if (k == KERNEL_attention && m->applied) {
		const struct attention_params *p = params;
		const struct attention_split_params *s = &p->split;
		if (s->kv.ring == 0) {
			assert_int_equal(s->at.host.evicted, 0);
			attend(m, cache_of(m, &s->kv), &s->kv, s->at.host.pos, 1, s->n_heads, (double)s->scale, s->q,
			       p->y);
			return 0;
		}
	} else if (k == KERNEL_snapkv_compact) {
		const struct snapkv_compact_params *p = params;
		size_t n = (size_t)p->from.n_kv_heads * (size_t)p->n_kept;
		assert_true(m->n_evicted < MASKED_MAX_CACHES);
		kept_set(&m->evicted[m->n_evicted++], p->from.n_kv_heads, p->n_kept,
			 fetch(m, p->kept, n * sizeof(int)));
	}
	return m->real->launch(d, k, params, err);
}

struct masked *masked_open(struct session *s)
{
	struct masked *m = calloc(1, sizeof *m);
	assert_non_null(m);
	m->d = session_device(s);
	m->real = m->d->ops;
	m->ops = *m->real;
	m->ops.launch = launch;
	int free_slot = 0;
	while (free_slot < MAX_OPEN && opened[free_slot])
		free_slot++;
	assert_true(free_slot < MAX_OPEN);
	opened[free_slot] = m;
	m->d->ops = &m->ops;
	return m;
}

void masked_close(struct masked *m)
{
	m->d->ops = m->real;
	for (int i = 0; i < MAX_OPEN; i++)
		if (opened[i] == m)
			opened[i] = NULL;
	masked_forget(m);
	free(m->chunks);
	free(m);
}

void masked_forget(struct masked *m)
{
	for (int i = 0; i < m->n_chunks; i++)
		free(m->chunks[i].q);
	for (int i = 0; i < m->n_caches; i++) {
		free(m->caches[i].kept.slots);
		free(m->caches[i].visible);
		m->caches[i] = (struct cache){0};
	}
	for (int i = 0; i < m->n_evicted; i++)
		kept_set(&m->evicted[i], 0, 0, NULL);
	m->n_chunks = m->n_caches = m->n_evicted = 0;
}

/* ---- the election ---- */

/* votes (n): of one KV head, by every query of the window that reads it. */
static void count(const struct masked *m, int cache, int head, const float *keys, int n, int window, double *votes)
{
	const struct kv *kv = &m->caches[cache].kv;
	double *p = malloc((size_t)n * sizeof *p);
	assert_non_null(p);
	int queries = 0;
	memset(votes, 0, (size_t)n * sizeof *votes);
	for (int i = 0; i < m->n_chunks; i++) {
		const struct chunk *c = &m->chunks[i];
		int group = c->n_heads / kv->n_kv_heads;
		for (int t = 0; c->cache == cache && t < c->n; t++) {
			int pos = c->pos + t;
			for (int g = 0; pos >= n - window && pos < n && g < group; g++) {
				const float *q = c->q + ((size_t)t * (size_t)c->n_heads + (size_t)(head * group + g)) *
								(size_t)kv->head_dim;
				probabilities(q, keys, pos + 1, kv->head_dim, (double)c->scale, NULL, 0, p);
				for (int j = 0; j <= pos; j++)
					votes[j] += p[j];
				queries++;
			}
		}
	}
	assert_true(queries > 0 && queries % window == 0);
	free(p);
}

static double elect_head(const double *votes, int n, const struct snapkv_options *o, int *slots, bool *visible)
{
	int candidates = n - o->window;
	double *pooled = malloc((size_t)n * sizeof *pooled), least = HUGE_VAL, most_lost = 0;
	assert_non_null(pooled);
	for (int j = 0; j < candidates; j++) {
		pooled[j] = votes[j];
		for (int i = j - o->pool / 2; i <= j + o->pool / 2; i++)
			if (i >= 0 && i < candidates && votes[i] > pooled[j])
				pooled[j] = votes[i];
	}
	for (int j = 0; j < n; j++)
		visible[j] = j >= candidates;
	for (int k = 0; k < o->budget - o->window; k++) {
		int best = -1;
		for (int j = 0; j < candidates; j++)
			if (!visible[j] && (best < 0 || pooled[j] > pooled[best]))
				best = j;
		visible[best] = true;
		least = pooled[best];
	}
	for (int j = 0; j < n; j++) {
		if (visible[j])
			*slots++ = j;
		else if (pooled[j] < least && pooled[j] > most_lost)
			most_lost = pooled[j];
	}
	free(pooled);
	return o->budget > o->window ? (least - most_lost) / least : 1;
}

double masked_elect(struct masked *m, int n, const struct snapkv_options *o)
{
	double margin = 1;
	m->n_prompt = n;
	for (int i = 0; i < m->n_caches; i++) {
		struct cache *c = &m->caches[i];
		size_t heads = (size_t)c->kv.n_kv_heads;
		float *keys = fetch_cache(m, &c->kv, false);
		double *votes = malloc((size_t)n * sizeof *votes);
		int *slots = malloc(heads * (size_t)o->budget * sizeof *slots);
		free(c->visible);
		c->visible = malloc(heads * (size_t)n * sizeof *c->visible);
		assert_true(votes && slots && c->visible);
		for (size_t h = 0; h < heads; h++) {
			count(m, i, (int)h, keys + h * (size_t)c->kv.capacity * (size_t)c->kv.head_dim, n, o->window,
			      votes);
			double gap = elect_head(votes, n, o, slots + h * (size_t)o->budget, c->visible + h * (size_t)n);
			margin = gap < margin ? gap : margin;
		}
		kept_set(&c->kept, c->kv.n_kv_heads, o->budget, slots);
		free(votes);
		free(keys);
	}
	return margin;
}

void masked_apply(struct masked *m, bool on)
{
	m->applied = on;
}

int masked_caches(const struct masked *m)
{
	return m->n_caches;
}

const struct masked_kept *masked_kept(const struct masked *m, int cache)
{
	return &m->caches[cache].kept;
}

const struct masked_kept *masked_evicted(const struct masked *m, int cache)
{
	return &m->evicted[cache];
}
