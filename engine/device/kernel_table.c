/*
 * Facts about kernels that do not depend on a backend: the size of the params, the
 * name, and whether the position matters.
 */
#include <assert.h>

#include "engine/device/device.h"

#define X(name, positional) \
	static_assert(sizeof(struct name##_params) % 8 == 0, #name "_params must have no tail padding of its own");
KERNEL_LIST(X)
#undef X

/* Sizes are part of the contract with CUDA: a change here is a change there. */
static_assert(sizeof(struct step) == 16, "struct step");
static_assert(sizeof(struct at) == 24, "struct at");
static_assert(sizeof(struct weight) == 32, "struct weight");
static_assert(sizeof(struct kv) == 40, "struct kv");

static const size_t params_bytes[KERNEL_COUNT] = {
#define X(name, positional) sizeof(struct name##_params),
	KERNEL_LIST(X)
#undef X
};

static const char *const names[KERNEL_COUNT] = {
#define X(name, positional) #name,
	KERNEL_LIST(X)
#undef X
};

static const bool positional[KERNEL_COUNT] = {
#define X(name, is_positional) is_positional,
	KERNEL_LIST(X)
#undef X
};

size_t kernel_params_bytes(enum kernel k)
{
	assert(k < KERNEL_COUNT);
	return params_bytes[k];
}

const char *kernel_name(enum kernel k)
{
	assert(k < KERNEL_COUNT);
	return names[k];
}

bool kernel_positional(enum kernel k)
{
	assert(k < KERNEL_COUNT);
	return positional[k];
}
