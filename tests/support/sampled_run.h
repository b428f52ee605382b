/* Tokens that a session generates by itself. */
#ifndef GEMMARK_TESTS_SUPPORT_SAMPLED_RUN_H
#define GEMMARK_TESTS_SUPPORT_SAMPLED_RUN_H

/*
 * Fails the running test where, with so many layers on the GPU, a golden model's greedy continuation is another one, a
 * drawn token is not what its logits make it (sample_case.h), or a mode draws another.
 */
void sampled_run_check(const char *golden, int n_gpu_layers);

#endif
