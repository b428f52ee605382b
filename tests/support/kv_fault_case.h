/* Models whose keys or values are beyond what an f16 cache holds, and what a session must say of them. */
#ifndef GEMMARK_TESTS_SUPPORT_KV_FAULT_CASE_H
#define GEMMARK_TESTS_SUPPORT_KV_FAULT_CASE_H

/* Fails the running test where a session with so many layers on the GPU says something else, of any case. */
void kv_fault_cases(int n_gpu_layers);

#endif
