/*
 * The program of --fusion persistent: a token's phases over a model's weights and caches, on the device, for the one
 * kernel that runs them (kernels/params_persistent.h). forward.c says the same mathematics launch by launch.
 *
 * Of models that are on one device as a whole.
 */
#ifndef GEMMARK_ENGINE_INFER_PERSISTENT_H
#define GEMMARK_ENGINE_INFER_PERSISTENT_H

#include <stdint.h>

#include "engine/device/device.h"
#include "kernels/cuda/cuda_kernels.h"

struct forward;

/* What a phase is of the model. */
enum phase_kind {
	PHASE_EMBED, /* this, QKV_PREPARE and NORM: of kernels launched one by one, in others' phases here */
	PHASE_PLE_MODEL_PROJ,
	PHASE_QKV,
	PHASE_PLE,
	PHASE_QKV_PREPARE,
	PHASE_ATTENTION,
	PHASE_ATTN_OUTPUT,
	PHASE_NORM,
	PHASE_ROUTER,
	PHASE_FFN_GATE_UP,
	PHASE_FFN_DOWN,
	PHASE_EXPERTS_GATE_UP,
	PHASE_EXPERTS_DOWN,
	PHASE_PLE_GATE,
	PHASE_PLE_PROJ,
	PHASE_HEAD,
	PHASE_KINDS,
};

struct phase_label {
	enum phase_kind kind;
	int layer; /* -1: of none */
};

/* "qkv", "ffn_gate_up", ... */
const char *phase_kind_name(enum phase_kind k);

struct persistent {
	struct device *device;
	void *memory; /* program, phases and what they leave; null: not built yet */
	size_t bytes;
	void *tiled;                     /* the weights as the device's plan wants them; null: it has none */
	uint64_t generation;             /* of the caches that it attends */
	struct persistent_params params; /* but for position, trace and stamps */
	struct phase_label *labels;      /* (n_phases) */
	int n_phases;
};

/*
 * Builds it, or brings it to where the caches are now; nothing to do where that was done. ERROR_UNSUPPORTED says why
 * this model has none on this device.
 */
int persistent_prepare(struct persistent *p, const struct forward *f, struct error *err);

/* What persistent_prepare allocates. */
struct persistent_bytes {
	size_t program;                /* phases and what they leave among it */
	size_t tiled;                  /* the weights once more; 0 on the host */
	struct persistent_shape shape; /* of the card's plan; zeroes on the host */
};

/* A card that was not opened, and what its kernel would be compiled for. */
struct persistent_card {
	struct cuda_card card;
	struct persistent_chunks chunks;
};

/*
 * The same pass as persistent_prepare's, of f that lacks a device and scratch, with weights_describe's weights and
 * kv_cache_describe's caches. card null: of the host device. ERROR_UNSUPPORTED as there.
 */
int persistent_measure(struct persistent_bytes *out, const struct forward *f, const struct persistent_card *card,
		       struct error *err);
/* Also valid on a zeroed struct. */
void persistent_close(struct persistent *p);

#endif
