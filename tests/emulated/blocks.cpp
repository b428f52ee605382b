#include "tests/emulated/words.h"

#include <cstdio>
#include <cstdlib>
#include <ucontext.h>
#include <vector>

/* What a kernel is compiled for; see cuda_options. */
#define WEIGHTS_Q4_0
#define WEIGHTS_Q4_1
#define WEIGHTS_Q5_0
#define WEIGHTS_Q5_1
#define WEIGHTS_IQ4_NL
#define WEIGHTS_Q4_K
#define WEIGHTS_Q5_K
#define WEIGHTS_Q6_K

#undef shared_memory
#undef __align__
#define __align__(x) __attribute__((aligned(x)))
#define __shared__
#include "kernels/cuda/elementwise.cu"
#include "kernels/cuda/experts.cu"
#include "kernels/cuda/matmul.cu"
#include "kernels/cuda/matvec.cu"
extern "C" {
#include "tests/emulated/blocks.h"
}

enum { SHARED_BYTES = 232448, STACK_BYTES = 64 << 10 };

alignas(128) char shared_memory[SHARED_BYTES];
emulated_index emulated_thread, emulated_block, emulated_grid, emulated_dim;
char *emulated_shared = shared_memory;

struct context {
	ucontext_t at;
	std::vector<char> stack;
	bool waits, ended;
};

/* Of the lanes that have come to a call together: what each brought, of this time and of the one before. */
struct warp {
	int arrived, kind;
	unsigned times;
	uint64_t values[2][32];
};

static struct {
	std::vector<context> threads;
	std::vector<warp> warps;
	ucontext_t outside;
	int current, n_threads, at_barrier, ended;
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

unsigned emulated_ballot(bool)
{
	fail("no kernel here votes");
}

unsigned arrive(unsigned *)
{
	fail("no kernel here counts");
}

void emulated_barrier(int, int)
{
	if (++now.at_barrier < now.n_threads) {
		wait();
		return;
	}
	now.at_barrier = 0;
	for (context &c : now.threads)
		c.waits = false;
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
	now.ended = now.at_barrier = 0;
	memset(shared_memory, 0xff, SHARED_BYTES);
	for (warp &w : now.warps)
		w = {};
	for (context &c : now.threads) {
		getcontext(&c.at);
		c.at.uc_stack.ss_sp = c.stack.data();
		c.at.uc_stack.ss_size = c.stack.size();
		c.at.uc_link = nullptr;
		c.waits = c.ended = false;
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
}

struct entry {
	const char *name;
	void (*run)(const void *);
};

static const entry entries[] = {
#define ENTRY(name, params) {"k_" #name, [](const void *p) { k_##name(*(const struct params *)p); }},
#define TYPED(NAME, word, number, block, block_bytes, file_type, name, b) ENTRY(name##_##word, name##_params)
	TENSOR_TYPES(TYPED, matmul, ) TENSOR_TYPES(TYPED, norm_matmul, ) TENSOR_TYPES(TYPED, norm_gated, )
		TENSOR_TYPES(TYPED, matmul_gated, ) TENSOR_TYPES(TYPED, matmul_experts, )
			TENSOR_TYPES(TYPED, experts_gated, ) ENTRY(matmul_any, matmul_params)
				ENTRY(embed, embed_params)};

extern "C" int emulated_launch(const char *name, const void *params, const struct cuda_launch *l)
{
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
