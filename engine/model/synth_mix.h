/*
 * Which tensor of a synthetic model has which type, as published files of a type have them: llama.cpp's rules
 * (llama_tensor_get_type), as far as they depend on a tensor's name, its layer and its rows' length.
 *
 *   - F32, F16, BF16 and Q8_0: all matrices.
 *   - The other types: the head's matrix (output, or token_embd where the model has none) in Q6_K, the rest in the
 * type.
 *   - Q4_K_M and Q5_K_M: as Q4_K and Q5_K, but attn_v and ffn_down in Q6_K in the first and the last eighth of the
 *     layers that have them and in every third one between. A mixture of experts has two of ffn_down a layer, alike.
 *   - Q5_K_S: as Q5_K.
 *   - Q4_K_S: as Q4_K, but attn_v of the first four layers and ffn_down of the first eighth in Q5_K.
 *   - IQ4_NL is all of it, where llama.cpp's files have Q5_K for attn_v that four or more query heads share and, made
 *     without an importance matrix, for ffn_down of the first eighth.
 *   - Rows that are no multiple of 256: Q5_0 for Q4_K, Q5_1 for Q5_K, Q8_0 for Q6_K.
 */
#ifndef GEMMARK_ENGINE_MODEL_SYNTH_MIX_H
#define GEMMARK_ENGINE_MODEL_SYNTH_MIX_H

#include "engine/model/tensor_type.h"

/* X(name, word, number in general.file_type, type of most tensors): mixtures beside TENSOR_TYPES. */
#define SYNTH_MIXES(X)              \
	X(Q4_K_S, q4_k_s, 14, Q4_K) \
	X(Q4_K_M, q4_k_m, 15, Q4_K) \
	X(Q5_K_S, q5_k_s, 16, Q5_K) \
	X(Q5_K_M, q5_k_m, 17, Q5_K)

enum synth_mix {
	SYNTH_MIX_NONE,
#define X(NAME, word, file_type, base) SYNTH_MIX_##NAME,
	SYNTH_MIXES(X)
#undef X
};

/* " q4_k_s q4_k_m q5_k_s q5_k_m" */
#define SYNTH_MIX_WORD(NAME, word, file_type, base) " " #word
#define SYNTH_MIX_WORDS SYNTH_MIXES(SYNTH_MIX_WORD)

struct synth_plan;

/* SYNTH_MIX_NONE for none of them; in any case. *base: the type of most tensors, written where there is one. */
enum synth_mix synth_mix_parse(const char *word, enum tensor_type *base);

/* "Q4_K_M", or the type's name; and its number in general.file_type. */
const char *synth_mix_name(enum synth_mix mix, enum tensor_type type);
int synth_mix_file_type(enum synth_mix mix, enum tensor_type type);

/* A plan whose matrices are all of options.type, to what the rules above say. Those of options.ple_type too where their
 * rows do not fit. */
void synth_mix_apply(struct synth_plan *p);

#endif
