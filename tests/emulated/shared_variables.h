/*
 * For sources whose CTAs run one after the other (blocks.h): variables in shared memory are one each, though kernels
 * have them in functions; and names that are not those of the host's kernels. Behind words.h. C++.
 */
#ifndef GEMMARK_TESTS_EMULATED_SHARED_VARIABLES_H
#define GEMMARK_TESTS_EMULATED_SHARED_VARIABLES_H

#undef shared_memory
#undef __align__
#define __align__(x) __attribute__((aligned(x)))
#define __shared__ thread_local

extern __shared__ __align__(128) char shared_memory[];

#define k_add emulated_add
#define k_advance emulated_advance
#define k_attention_combine emulated_attention_combine
#define k_embed emulated_embed
#define k_gated emulated_gated
#define k_kv_append emulated_kv_append
#define k_moe_route emulated_moe_route
#define k_moe_sort emulated_moe_sort
#define k_moe_sum emulated_moe_sum
#define k_patch emulated_patch
#define k_prompt_gated emulated_prompt_gated
#define k_prompt_norm emulated_prompt_norm
#define k_prompt_qkv emulated_prompt_qkv
#define k_prompt_residual emulated_prompt_residual
#define k_qkv_prepare emulated_qkv_prepare
#define k_rope emulated_rope
#define k_sample emulated_sample
#define k_snapkv_compact emulated_snapkv_compact
#define k_snapkv_select emulated_snapkv_select
#define k_snapkv_softmax emulated_snapkv_softmax
#define k_snapkv_vote emulated_snapkv_vote
#define k_softcap emulated_softcap

#endif
