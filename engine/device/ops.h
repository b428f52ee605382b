/*
 * One typed call per kernel: op_NAME(&emitter, params) enqueues it.
 *
 * An emitter keeps the first error and ignores what comes after it, so that a
 * forward pass reads as the list of its operations and is checked once at the end.
 */
#ifndef GEMMARK_ENGINE_DEVICE_OPS_H
#define GEMMARK_ENGINE_DEVICE_OPS_H

#include "engine/device/device.h"

struct emitter {
	struct device *device;
	struct error *err;
	int rc; /* 0, or the first failure */
};

#define X(name, positional)                                                          \
	static inline void op_##name(struct emitter *e, struct name##_params p)      \
	{                                                                            \
		if (!e->rc)                                                          \
			e->rc = device_launch(e->device, KERNEL_##name, &p, e->err); \
	}
KERNEL_LIST(X)
#undef X

static inline void op_copy(struct emitter *e, void *dst, const void *src, size_t bytes)
{
	if (!e->rc)
		e->rc = device_copy(e->device, dst, src, bytes, e->err);
}

#endif
