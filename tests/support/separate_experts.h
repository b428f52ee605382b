/* A mixture of experts as older converters write it: gate and up in tensors of their own. */
#ifndef GEMMARK_TESTS_SUPPORT_SEPARATE_EXPERTS_H
#define GEMMARK_TESTS_SUPPORT_SEPARATE_EXPERTS_H

/*
 * Writes to `path` the model of the file `from` with ffn_gate_exps and ffn_up_exps for each ffn_gate_up_exps. Fails the
 * running test where it has none, or that does not work.
 */
void separate_experts(const char *from, const char *path);

#endif
