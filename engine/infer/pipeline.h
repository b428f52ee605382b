/*
 * A loaded model's parts with caches, activations and graphs: a token or a chunk of a
 * prompt through all of them, in the order of the layers.
 *
 * A part is a device's share of the layers. A stage is what a device does in a row: the
 * first part is visited twice where the layers end on the second and the head is on the
 * first. Stages run one after the other; between two of them the rows cross (crossing.h).
 */
#ifndef GEMMARK_ENGINE_INFER_PIPELINE_H
#define GEMMARK_ENGINE_INFER_PIPELINE_H

#include "engine/device/graph.h"
#include "engine/infer/crossing.h"
#include "engine/infer/forward.h"
#include "engine/infer/kv_cache.h"
#include "engine/infer/loaded_model.h"

enum { PIPELINE_STAGES_MAX = LOADED_PARTS_MAX + 1 };

struct pipeline_part {
	struct kv_cache cache;
	struct forward forward;
};

struct pipeline_stage {
	struct forward_stage run;
	struct device *device;
	bool on_host; /* its kernels read host memory */
	struct graph_cache *graphs;
	struct device_event *begin;
	struct device_event *end;
};

struct pipeline {
	const struct loaded_model *loaded;
	struct pipeline_part parts[LOADED_PARTS_MAX];
	struct pipeline_stage stages[PIPELINE_STAGES_MAX];
	struct crossing crossings[PIPELINE_STAGES_MAX - 1]; /* behind each stage but the last */
	int n_parts;
	int n_stages;
	size_t crossing_bytes; /* a decoded token takes across */
};

/* What a token cost; see struct token_timing. */
struct pipeline_timing {
	double submit_us;
	double device_us;
	double host_us;
	double wall_us;
	int64_t done_ns;
	enum graph_event event; /* the most that happened in a stage: a fallback, a capture, an update, a replay */
	struct device_counters counters;
};

/* A stage as the division of a model into parts has it. */
struct pipeline_route {
	int part;
	struct model_range range;
};
/* The stages of n_parts parts, of which head_part has the head; returns how many. Rows cross between them. */
int pipeline_route(const struct model *m, const struct model_range *parts, int n_parts, int head_part,
		   struct pipeline_route out[PIPELINE_STAGES_MAX]);

/* The model outlives the pipeline. */
int pipeline_open(struct pipeline *p, const struct loaded_model *m, int context, struct error *err);
/* Also valid on a zeroed struct. */
void pipeline_close(struct pipeline *p);

/* The parts' caches; returns how many. */
int pipeline_caches(struct pipeline *p, struct kv_cache *out[LOADED_PARTS_MAX]);
/* The next position; all parts agree. */
int pipeline_position(const struct pipeline *p);
/* Whether n more positions fit. */
int pipeline_check(const struct pipeline *p, int n, struct error *err);
/* As kv_cache_save and kv_cache_rewind, of all parts; done when they return. */
int pipeline_save(struct pipeline *p, struct error *err);
int pipeline_rewind(struct pipeline *p, int pos, struct error *err);

/* One token, complete on return; the position moves on. The logits are in the first row of the head's scratch. */
int pipeline_token(struct pipeline *p, int token, enum graph_mode mode, struct pipeline_timing *t, struct error *err);

/*
 * The same with time stamps, of the fusions that launch kernels one by one and of one stage: launched directly, or
 * captured and replayed as in GRAPH_MODE_DEVICE. Labels are those of struct phase_label. Frees nothing of *out, also
 * after a failure.
 */
int pipeline_token_stamped(struct pipeline *p, int token, bool replayed, struct device_stamps *out, struct error *err);

/*
 * One token, enqueued between two events of the only stage's device, and not waited for; the position moves on.
 * Fills submit_us, event and counters.
 */
int pipeline_enqueue(struct pipeline *p, int token, enum graph_mode mode, struct device_event *begin,
		     struct device_event *end, struct pipeline_timing *t, struct error *err);

/*
 * Tokens behind each other on the only stage's device, in a mode that loops: those numbered from `first` on, at most n,
 * whose ids are in the ring, as many as one graph serves. Fills launched and t, as pipeline_enqueue.
 */
int pipeline_loop(struct pipeline *p, const struct graph_ring *ring, int first, int n, enum graph_mode mode,
		  int *launched, struct pipeline_timing *t, struct error *err);
/*
 * The same of tokens that the device chooses, as the head's scratch.sampler says: the one behind `token`, and the one
 * behind that, n times at most, until `last` is chosen or one is wrong. The ring's marks, from 0 on, have them. The
 * position stays: pipeline_passed moves it.
 */
int pipeline_loop_chosen(struct pipeline *p, int token, int n, int last, enum graph_mode mode, int *launched,
			 struct pipeline_timing *t, struct error *err);
/* n tokens of pipeline_loop_chosen are complete. */
void pipeline_passed(struct pipeline *p, int n);
/* The position is n tokens back: those were stopped before they ran. */
void pipeline_retreat(struct pipeline *p, int n);

/*
 * A chunk of at most the parts' batch, as forward_chunk; the position moves on. The residual stream of
 * the last n_out tokens is then where pipeline_head's forward_head finds it. Enqueued.
 */
int pipeline_chunk(struct pipeline *p, const int *tokens, int n, int n_out, struct error *err);

/*
 * The same, and the head over the rows that it says, in the mode, on the only stage's device: replayed as a graph,
 * where not launched directly. head all: behind forward_head_reserve.
 */
int pipeline_replay_chunk(struct pipeline *p, const int *tokens, int n, enum head_rows head, enum graph_mode mode,
			  enum graph_event *event, struct error *err);

/* The part that has the head. */
struct forward *pipeline_head(struct pipeline *p);
int pipeline_synchronize(struct pipeline *p, struct error *err);

void pipeline_set_fusion(struct pipeline *p, enum fusion fusion);
/* As forward_prepare, of all parts. Every token does it, for nothing where it was done. */
int pipeline_prepare(struct pipeline *p, struct error *err);
/* Whether hidden states are kept from now on. */
void pipeline_set_trace(struct pipeline *p, bool on);
/* hidden: (n_layer + 1, n_embd), as kept for the last token */
int pipeline_download_trace(struct pipeline *p, float *hidden, struct error *err);

/* Sums over the parts' devices. */
struct device_counters pipeline_counters(const struct pipeline *p);
/* Sums over the stages. */
struct graph_stats pipeline_graph_stats(const struct pipeline *p);
const char *pipeline_fallback_reason(const struct pipeline *p);
size_t pipeline_kv_bytes(const struct pipeline *p);
size_t pipeline_kv_bytes_read(const struct pipeline *p, int pos);

#endif
