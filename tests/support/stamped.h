/* A token with time stamps. */
#ifndef GEMMARK_TESTS_SUPPORT_STAMPED_H
#define GEMMARK_TESTS_SUPPORT_STAMPED_H

#include "engine/device/graph.h"
#include "engine/infer/forward.h"

/*
 * That stamps change no bit, of their token or of those behind it, whatever the session's mode; that they name the
 * model's phases, each kernel among them where they are launched one by one, are in order, and take no memory behind
 * the token.
 */
void stamped_check(const char *golden, int gpu_layers, enum fusion fusion, enum graph_mode mode);

#endif
