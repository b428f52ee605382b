/* A model at positions 19,980 to 19,999, where it shows in which arithmetic RoPE's angle is computed. */
#ifndef GEMMARK_TESTS_SUPPORT_FAR_CASE_H
#define GEMMARK_TESTS_SUPPORT_FAR_CASE_H

/*
 * In every mode and fusion, the rows of those positions, decoded behind a prompt of 19,980 tokens, are within
 * `tolerance` (relative L2) of the reference with float32 angles, and apart from the one with float64 angles. Fails the
 * running test where they are not.
 */
void far_case(int n_gpu_layers, double tolerance);

#endif
