/* A token of fusion persistent with time stamps. */
#ifndef GEMMARK_TESTS_SUPPORT_STAMPED_H
#define GEMMARK_TESTS_SUPPORT_STAMPED_H

#include "engine/device/graph.h"

/*
 * That stamps change no bit, of their token or of those behind it, whatever the session's mode; that they name the
 * model's phases, are in order, and take no memory behind the token.
 */
void stamped_check(const char *golden, int gpu_layers, enum graph_mode mode);

#endif
