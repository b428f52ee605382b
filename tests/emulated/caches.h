/* What the kernels of K/V caches are compiled for, in sources of their own; see cuda_options. C++. */
#ifndef GEMMARK_TESTS_EMULATED_CACHES_H
#define GEMMARK_TESTS_EMULATED_CACHES_H

#include "tests/emulated/words.h"

#define HEAD_DIM_32
#define HEAD_DIM_64
#define HEAD_DIM_96
#define HEAD_DIM_128
#define HEAD_DIM_192
#define HEAD_DIM_256
#define HEAD_DIM_512
#define KV_F16_F16
#define KV_F16_Q8_0
#define KV_Q8_0_BF16
#define KV_Q8_0_Q8_0

#include "tests/emulated/shared_variables.h"

#endif
