#include "engine/model/synth_mix.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engine/model/synth.h"

static const struct {
	const char *name, *word;
	int file_type;
	enum tensor_type base;
} mixes[] = {[SYNTH_MIX_NONE] = {0},
#define X(NAME, word, file_type, base) [SYNTH_MIX_##NAME] = {#NAME, #word, file_type, TENSOR_##base},
	     SYNTH_MIXES(X)
#undef X
};
enum { N_MIXES = sizeof mixes / sizeof *mixes };

enum synth_mix synth_mix_parse(const char *word, enum tensor_type *base)
{
	for (int i = SYNTH_MIX_NONE + 1; i < N_MIXES; i++)
		if (!strcasecmp(mixes[i].word, word)) {
			*base = mixes[i].base;
			return (enum synth_mix)i;
		}
	return SYNTH_MIX_NONE;
}

const char *synth_mix_name(enum synth_mix mix, enum tensor_type type)
{
	return mix ? mixes[mix].name : tensor_type_name(type);
}

int synth_mix_file_type(enum synth_mix mix, enum tensor_type type)
{
	return mix ? mixes[mix].file_type : tensor_type_traits(type)->file_type;
}

static bool ends(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);
	return n >= m && !strcmp(name + n - m, suffix);
}

static bool is_down(const struct synth_tensor *t)
{
	return ends(t->name, ".ffn_down.weight") || ends(t->name, ".ffn_down_exps.weight");
}

static bool is_value(const struct synth_tensor *t)
{
	return ends(t->name, ".attn_v.weight");
}

static bool is_head(const struct synth_plan *p, const struct synth_tensor *t)
{
	return !strcmp(t->name, p->shape.tied ? "token_embd.weight" : "output.weight");
}

static int count(const struct synth_plan *p, bool (*is)(const struct synth_tensor *))
{
	int n = 0;
	for (int i = 0; i < p->n_tensors; i++)
		n += is(&p->tensors[i]);
	return n;
}

/* Of the i-th of n. */
static bool more_bits(int i, int n)
{
	return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static enum tensor_type mixed(enum synth_mix mix, enum tensor_type type, bool value, int i, int n)
{
	switch (mix) {
	case SYNTH_MIX_NONE:
	case SYNTH_MIX_Q5_K_S:
		break;
	case SYNTH_MIX_Q4_K_M:
	case SYNTH_MIX_Q5_K_M:
		return more_bits(i, n) ? TENSOR_Q6_K : type;
	case SYNTH_MIX_Q4_K_S:
		return i < (value ? 4 : n / 8) ? TENSOR_Q5_K : type;
	}
	return type;
}

static enum tensor_type fitting(enum tensor_type type, int64_t n_in)
{
	if (n_in % tensor_type_traits(type)->block == 0)
		return type;
	switch (type) {
	case TENSOR_Q4_K:
		return TENSOR_Q5_0;
	case TENSOR_Q5_K:
		return TENSOR_Q5_1;
	default:
		return TENSOR_Q8_0;
	}
}

void synth_mix_apply(struct synth_plan *p)
{
	enum synth_mix mix = p->options.mix;
	enum tensor_type type = p->options.type;
	int n_value = count(p, is_value), value = 0, layer;
	for (int i = 0; i < p->n_tensors; i++) {
		struct synth_tensor *t = &p->tensors[i];
		if (t->n_dims < 2)
			continue;
		if (is_head(p, t) && tensor_type_traits(type)->quants)
			t->type = TENSOR_Q6_K;
		else if (is_down(t) && sscanf(t->name, "blk.%d.", &layer) == 1)
			t->type = mixed(mix, t->type, false, layer, p->shape.n_layer);
		else if (is_value(t))
			t->type = mixed(mix, t->type, true, value, n_value);
		value += is_value(t);
		t->type = fitting(t->type, t->ne[0]);
	}
}
