#include "engine/infer/kv_policy.h"

#include <assert.h>
#include <string.h>

#include "base/random.h"

static const char *const names[] = {"snapkv", "recency", "random", "stride"};

enum { N_POLICIES = sizeof names / sizeof *names };

const char *kv_policy_name(enum kv_policy p)
{
	return names[p];
}

int kv_policy_parse(const char *name)
{
	for (int p = 0; p < N_POLICIES; p++)
		if (!strcmp(name, names[p]))
			return p;
	return -1;
}

/* n of [begin, end), each set of them as likely as any other. */
static void draw(int begin, int end, int n, uint64_t seed, int *out)
{
	for (int i = begin; n; i++) {
		if (random_below(&seed, (uint64_t)(end - i)) >= (uint64_t)n)
			continue;
		*out++ = i;
		n--;
	}
}

/* n of [begin, end), each in the middle of its share. */
static void space(int begin, int end, int n, int *out)
{
	for (int i = 0; i < n; i++)
		out[i] = begin + (int)((2 * (int64_t)i + 1) * (end - begin) / (2 * (int64_t)n));
}

void kv_policy_select(enum kv_policy p, int n_keys, int budget, int window, int sinks, uint64_t seed, int *kept)
{
	assert(p != KV_POLICY_SNAPKV && window >= 0 && sinks >= 0 && sinks + window <= budget && budget < n_keys);
	int between = budget - sinks - window, end = n_keys - window;
	for (int i = 0; i < sinks; i++)
		kept[i] = i;
	if (p == KV_POLICY_RANDOM)
		draw(sinks, end, between, seed, kept + sinks);
	else if (p == KV_POLICY_STRIDE)
		space(sinks, end, between, kept + sinks);
	else
		for (int i = 0; i < between; i++)
			kept[sinks + i] = end - between + i;
	for (int i = 0; i < window; i++)
		kept[sinks + between + i] = end + i;
}
