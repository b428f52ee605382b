#include "tests/emulated/words.h"

#include <cstdio>
#include <cstdlib>
#include <ucontext.h>
#include <vector>

#include "tests/emulated/few_bits.h"
#include "tests/emulated/shared_variables.h"

#include "kernels/cuda/elementwise.cu"
#include "kernels/cuda/experts.cu"
#include "kernels/cuda/matmul.cu"
#include "kernels/cuda/matvec.cu"
#include "kernels/cuda/memory.cu"
extern "C" {
#include "tests/emulated/blocks.h"
}

enum { SHARED_BYTES = 232448, STACK_BYTES = 64 << 10 };

alignas(128) thread_local char shared_memory[SHARED_BYTES];
emulated_index emulated_thread, emulated_block, emulated_grid, emulated_dim;
char *emulated_shared;
unsigned emulated_shared_bytes;

/* Of a thread: copies that were asked for, and the group that each is of. */
struct copy {
	void *to;
	const void *from;
	int bytes, all, group;
};

struct context {
	ucontext_t at;
	std::vector<char> stack;
	std::vector<copy> copies;
	int group; /* that copies are asked for */
	bool waits, ended;
};

/* Of the lanes that have come to a call together: what each brought, of this time and of the one before. */
struct warp {
	int arrived, kind;
	unsigned times;
	uint64_t values[2][32];
	emulated_words words[2][32];
};

enum { BARRIERS = 16 };

static struct {
	std::vector<int> at_barrier[BARRIERS];
	std::vector<context> threads;
	std::vector<warp> warps;
	ucontext_t outside;
	int current, n_threads, ended;
	void (*kernel)(const void *);
	const void *params;
} now;

[[noreturn]] static void fail(const char *why)
{
	fprintf(stderr, "emulation, block %u thread %u: %s\n", emulated_block.x, emulated_thread.x, why);
	abort();
}

static void wait()
{
	now.threads[(size_t)now.current].waits = true;
	swapcontext(&now.threads[(size_t)now.current].at, &now.outside);
}

void emulated_meet(int kind)
{
	const int first = now.current / 32 * 32;
	warp &w = now.warps[(size_t)(now.current / 32)];
	if (w.arrived && w.kind != kind)
		fail("its warp is at two places");
	w.kind = kind;
	if (++w.arrived < 32) {
		wait();
		return;
	}
	w.arrived = 0;
	w.times++;
	for (int i = first; i < first + 32; i++)
		now.threads[(size_t)i].waits = false;
}

uint64_t emulated_exchange(uint64_t v, int from, int kind)
{
	warp &w = now.warps[(size_t)(now.current / 32)];
	const unsigned time = w.times & 1;
	w.values[time][now.current % 32] = v;
	emulated_meet(kind);
	return w.values[time][from];
}

const emulated_words *emulated_gather(const unsigned *own, size_t bytes, int kind)
{
	warp &w = now.warps[(size_t)(now.current / 32)];
	const unsigned time = w.times & 1;
	memcpy(w.words[time][now.current % 32].of, own, bytes);
	emulated_meet(kind);
	return w.words[time];
}

unsigned emulated_ballot(bool p)
{
	const unsigned own = p;
	const emulated_words *const all = emulated_gather(&own, sizeof own, 5);
	unsigned votes = 0;
	for (int i = 0; i < 32; i++)
		votes |= all[i].of[0] << i;
	return votes;
}

unsigned arrive(unsigned *counter)
{
	return (*counter)++;
}

void emulated_barrier(int id, int n_threads)
{
	std::vector<int> &waiting = now.at_barrier[id];
	waiting.push_back(now.current);
	if ((int)waiting.size() < n_threads) {
		wait();
		return;
	}
	for (int i : waiting)
		now.threads[(size_t)i].waits = false;
	waiting.clear();
}

/* ---- copies ---- */

void emulated_copy(void *to, const void *from, int bytes, int all)
{
	context &c = now.threads[(size_t)now.current];
	if ((uintptr_t)to % (uintptr_t)all || (uintptr_t)from % (uintptr_t)all)
		fail("a copy is misaligned");
	for (const copy &other : c.copies)
		if (other.to == to)
			fail("a copy is on its way to where another one goes");
	memset(to, 0xff, (size_t)all);
	c.copies.push_back({to, from, bytes, all, c.group});
}

void emulated_commit()
{
	now.threads[(size_t)now.current].group++;
}

void emulated_wait(int but)
{
	context &c = now.threads[(size_t)now.current];
	size_t left = 0;
	for (const copy &one : c.copies) {
		if (one.group >= c.group - but) {
			c.copies[left++] = one;
			continue;
		}
		memcpy(one.to, one.from, (size_t)one.bytes);
		memset((char *)one.to + one.bytes, 0, (size_t)(one.all - one.bytes));
	}
	c.copies.resize(left);
}

static void begin()
{
	now.kernel(now.params);
	now.threads[(size_t)now.current].ended = true;
	now.ended++;
	swapcontext(&now.threads[(size_t)now.current].at, &now.outside);
	abort();
}

static void run_block()
{
	now.ended = 0;
	for (std::vector<int> &waiting : now.at_barrier)
		waiting.clear();
	memset(shared_memory, 0xff, SHARED_BYTES);
	for (warp &w : now.warps)
		w = {};
	for (context &c : now.threads) {
		getcontext(&c.at);
		c.at.uc_stack.ss_sp = c.stack.data();
		c.at.uc_stack.ss_size = c.stack.size();
		c.at.uc_link = nullptr;
		c.waits = c.ended = false;
		c.group = 0;
		c.copies.clear();
		makecontext(&c.at, begin, 0);
	}
	while (now.ended < now.n_threads) {
		bool any = false;
		for (int i = 0; i < now.n_threads; i++) {
			if (now.threads[(size_t)i].waits || now.threads[(size_t)i].ended)
				continue;
			any = true;
			now.current = i;
			emulated_thread = {(unsigned)i, 0, 0};
			swapcontext(&now.outside, &now.threads[(size_t)i].at);
		}
		if (!any)
			fail("all wait");
	}
	const char *const behind = shared_memory + emulated_shared_bytes;
	const size_t n = SHARED_BYTES - emulated_shared_bytes;
	if (n && (*behind != (char)0xff || memcmp(behind, behind + 1, n - 1)))
		fail("shared memory is written that was not asked for");
}

/* Of sources of their own, for these caches. */
#define EMULATED_CACHE_PAIRS(X, hd) X(hd, f16, f16) X(hd, f16, q8_0) X(hd, q8_0, bf16) X(hd, q8_0, q8_0)
#define SPLIT(hd, k, v) EMULATED(k_attention_split_##hd##_##k##_##v, attention_split_params)
#define FUSED(hd, k, v) EMULATED(k_attention_##hd##_##k##_##v, attention_params)
#define MMA(hd, k, v)                                                        \
	EMULATED(k_attention_mma_##hd##_##k##_##v, attention_prefill_params) \
	EMULATED(k_attention_mma_half_##hd##_##k##_##v, attention_prefill_params)
#define OF_HEAD_DIM(hd)                                              \
	EMULATED(k_attention_prefill_##hd, attention_prefill_params) \
	EMULATED_CACHE_PAIRS(SPLIT, hd) EMULATED_CACHE_PAIRS(FUSED, hd) EMULATED_CACHE_PAIRS(MMA, hd)
#define OF_CACHES                                               \
	OF_HEAD_DIM(32)                                         \
	OF_HEAD_DIM(64)                                         \
	OF_HEAD_DIM(96)                                         \
	OF_HEAD_DIM(128)                                        \
	OF_HEAD_DIM(192)                                        \
	OF_HEAD_DIM(256)                                        \
	OF_HEAD_DIM(512)                                        \
	EMULATED(k_attention_combine, attention_combine_params) \
	EMULATED(k_qkv_prepare, qkv_prepare_params)             \
	EMULATED(k_prompt_qkv, prompt_qkv_params)               \
	EMULATED(k_snapkv_softmax, snapkv_softmax_params)       \
	EMULATED(k_snapkv_vote, snapkv_vote_params)             \
	EMULATED(k_snapkv_compact, snapkv_compact_params)       \
	EMULATED(k_emulated_rows, emulated_rows_params)
/* Of graph.cpp. */
#define OF_GRAPHS                                    \
	EMULATED(k_advance, advance_params)          \
	EMULATED(k_advance_while, advance_params)    \
	EMULATED(k_advance_relaunch, advance_params) \
	EMULATED(k_patch, patch_params)              \
	EMULATED(k_sample, sample_params)
/* Experts of prompts, in a source of their own too. */
#define OF_EXPERTS(NAME, word, number, block, block_bytes, file_type, a, b)  \
	EMULATED(k_prompt_experts_gated_##word, prompt_experts_gated_params) \
	EMULATED(k_prompt_experts_matmul_##word, prompt_experts_matmul_params)
#define EMULATED(name, params) extern "C" void name(const struct params p);
OF_CACHES
OF_GRAPHS
TENSOR_TYPES(OF_EXPERTS, , )
#undef EMULATED

struct entry {
	const char *name;
	void (*run)(const void *);
};

static const entry entries[] = {
#define ENTRY(name, params) {"k_" #name, [](const void *p) { k_##name(*(const struct params *)p); }},
#define TYPED(NAME, word, number, block, block_bytes, file_type, name, b) ENTRY(name##_##word, name##_params)
	TENSOR_TYPES(TYPED, matmul, ) TENSOR_TYPES(TYPED, norm_matmul, ) TENSOR_TYPES(TYPED, norm_gated, )
		TENSOR_TYPES(TYPED, matmul_gated, ) TENSOR_TYPES(TYPED, matmul_experts, )
			TENSOR_TYPES(TYPED, experts_gated, ) ENTRY(matmul_any, matmul_params) ENTRY(embed, embed_params)
				ENTRY(kv_append, kv_append_params) ENTRY(memory_read, memory_read_params)
					ENTRY(memory_chain, memory_chain_params)
#define EMULATED(name, params) {#name, [](const void *p) { name(*(const struct params *)p); }},
						OF_CACHES OF_GRAPHS TENSOR_TYPES(OF_EXPERTS, , )};

extern "C" int emulated_launch(const char *name, const void *params, const struct cuda_launch *l)
{
	emulated_shared = shared_memory;
	emulated_shared_bytes = l->shared_bytes;
	for (const entry &e : entries) {
		if (strcmp(e.name, name))
			continue;
		now.kernel = e.run;
		now.params = params;
		now.n_threads = (int)l->block[0];
		emulated_grid = {l->grid[0], l->grid[1], 1};
		emulated_dim = {l->block[0], 1, 1};
		now.threads.resize((size_t)now.n_threads);
		now.warps.resize((size_t)(now.n_threads + 31) / 32);
		for (context &c : now.threads)
			c.stack.resize(STACK_BYTES);
		for (unsigned y = 0; y < l->grid[1]; y++)
			for (unsigned x = 0; x < l->grid[0]; x++) {
				emulated_block = {x, y, 0};
				run_block();
			}
		return 0;
	}
	return -1;
}
