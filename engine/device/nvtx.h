/*
 * NVTX ranges in the domain "gemmark", for profilers. Nothing is formatted, and without
 * a profiler attached a call is a test of one pointer; built without NVTX's header, nothing.
 *
 *   load         a model
 *   prefill      payload: tokens
 *   direct, graph-params, graph-update, graph-device, graph-patch, graph-loop, graph-while: a decoded token in that
 * mode, of a loop all that are told at once; payload: its position capture      payload: the token's position
 *   instantiate  payload: nodes
 *   layer        one launched, or recorded by a capture; payload: its number
 */
#ifndef GEMMARK_ENGINE_DEVICE_NVTX_H
#define GEMMARK_ENGINE_DEVICE_NVTX_H

#include <stdint.h>

/* name lives at least until the matching pop; payload: a number that the range is about. */
void nvtx_push(const char *name, int64_t payload);
void nvtx_pop(void);

#endif
