/* Kernels that are emulated are compiled for all types of few bits; see cuda_options. */
#ifndef GEMMARK_TESTS_EMULATED_FEW_BITS_H
#define GEMMARK_TESTS_EMULATED_FEW_BITS_H

#define WEIGHTS_Q4_0
#define WEIGHTS_Q4_1
#define WEIGHTS_Q5_0
#define WEIGHTS_Q5_1
#define WEIGHTS_IQ4_NL
#define WEIGHTS_Q4_K
#define WEIGHTS_Q5_K
#define WEIGHTS_Q6_K

#endif
