#ifndef GEMMARK_TESTS_SUPPORT_NO_GPU_H
#define GEMMARK_TESTS_SUPPORT_NO_GPU_H

#include <stdbool.h>

/* Whether there is none, which it prints with the reason: what struct apart wants to know. */
bool no_gpu(void);

#endif
