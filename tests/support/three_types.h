/* A mixture of experts with per-layer embeddings, whose attention has matrices of three types: nobody publishes one. */
#ifndef GEMMARK_TESTS_SUPPORT_THREE_TYPES_H
#define GEMMARK_TESTS_SUPPORT_THREE_TYPES_H

/* Writes it to path, of golden gemma4-26b-a4b-tiny.q8_0. Fails the running test where that does not work. */
void three_types_make(const char *path);

#endif
