/*
 * What model.c (metadata), model_other.c, model_tensors.c and model_coverage.c share and nobody else needs.
 */
#ifndef GEMMARK_ENGINE_MODEL_MODEL_INTERNAL_H
#define GEMMARK_ENGINE_MODEL_MODEL_INTERNAL_H

#include "engine/model/gguf_internal.h"
#include "engine/model/model.h"

enum {
	MODEL_MAX_WIDTH = 1 << 20, /* n_embd, n_ff, heads x head_dim */
	MODEL_MAX_VOCAB = 1 << 24,
};

/* What an architecture settles and its files do not say, and which of its keys and tensors there are. */
struct architecture {
	const char *name; /* in general.architecture, and in front of its keys */
	enum activation activation;
	bool v_norm;
	bool post_norms;
	bool scaled_embedding;     /* by sqrt(n_embd) */
	bool scaled_attention;     /* by 1 / sqrt(head_dim) */
	int n_layer_embd_scaled;   /* a model of so many layers scales by 1 / sqrt(n_embd / n_head); 0: none does */
	bool head_dim_may_be_left; /* no key_length: n_embd / n_head */
	bool v_may_be_k;           /* a global layer without attn_v */
	bool sliding;              /* layers with a window, and their RoPE base */
	bool sliding_widths;       /* which have keys for widths of their own */
	int period;                /* without a pattern every so many layers the last is global; 0: needs a pattern */
	double rope_base_swa;      /* of a file without freq_base_swa; 0: needs it */
	bool softcap;
	bool shared_kv;
	bool rope_factors; /* rope_freqs */
	bool ple;          /* this and the two below are computed with post_norms only */
	bool experts;
	bool output_scale; /* a layer's */
};
extern const struct architecture model_architectures[]; /* by enum model_arch */

/* What a function that reads a model needs to name a key of the architecture and to report about it. */
struct reader {
	struct model *m;
	const struct architecture *arch;
	const struct gguf *g;
	char key[128];     /* the one last asked for */
	bool *key_read;    /* (g->n_kv): asked for */
	bool *tensor_read; /* (g->n_tensors): the model has it, or computes what it would without it */
	struct error *err;
};

/* The architecture's key of this suffix, which counts as read from now on. */
const char *reader_key(struct reader *r, const char *suffix);
bool reader_has(struct reader *r, const char *suffix);
int reader_int(struct reader *r, const char *suffix, int64_t min, int64_t max, int *out);
int reader_int_or(struct reader *r, const char *suffix, int64_t min, int64_t max, int fallback, int *out);
int reader_float(struct reader *r, const char *suffix, double min, double max, double *out);
int reader_float_or(struct reader *r, const char *suffix, double min, double max, double fallback, double *out);

/* Refuses a file that is no model of a next token: an adapter, a projector, a model of embeddings. */
int model_refuse_other(struct reader *r);

/* The tensors of the embedding, the head and what serves all layers; then those of layer i. */
int model_find_globals(struct reader *r);
int model_find_layer(struct reader *r, int i);

/*
 * Refuses, by name, what the file holds of the text model and nobody has read: a tensor, or a key of the
 * architecture. Without it the engine would compute another model than the file's and say nothing.
 */
int model_refuse_unread(struct reader *r);

#endif
