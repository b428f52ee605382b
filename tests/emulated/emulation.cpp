#include "tests/emulated/words.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <unordered_map>
#include <vector>

/* What a kernel is compiled for; see cuda_options. */
#define STREAM_CHUNKS 2
#define SLICE_CHUNKS 3
#define WEIGHTS_Q8_0
#define WEIGHTS_BF16
#define WEIGHTS_F16
#define WEIGHTS_F32
#define EXPERTS
#define AWAIT_FIRST 1 /* what is compiled without experts */
#define HEAD_DIM_32
#define HEAD_DIM_64
#define HEAD_DIM_128
#define HEAD_DIM_256
#define HEAD_DIM_512
#define KV_F32_F32
#define KV_F16_F16
#define KV_BF16_BF16
#define KV_Q8_0_Q8_0
#define KV_F16_Q8_0
#include "tests/emulated/few_bits.h"

#include "kernels/cuda/persistent.cu"
#define k_persistent_tile emulated_k_persistent_tile /* the host has another */
#include "kernels/cuda/tile.cu"
#include "tests/emulated/emulation.h"

static_assert(STREAM_CHUNKS == EMULATED_STREAM_CHUNKS && SLICE_CHUNKS == EMULATED_SLICE_CHUNKS, "what plans are told");

enum {
	THREADS = PERSISTENT_THREADS,
	WARPS = THREADS / 32,
	STACK_BYTES = 48 << 10,
	STUCK_STEPS = 3000000, /* of fibres that all wait */
	MOST_STEPS = 10000000, /* of a token that is watched: warps that wait may vote, which is no progress */
	A_WHILE = 20000,       /* steps that a block is ahead for, or a warp behind */
};

emulated_index emulated_thread, emulated_block, emulated_grid, emulated_dim = {THREADS, 1, 1};
char *emulated_shared;
unsigned emulated_shared_bytes = EMULATED_SHARED_BYTES;

[[noreturn]] static void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fprintf(stderr, "emulation, block %u thread %u: ", emulated_block.x, emulated_thread.x);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	abort();
}

/* ---- fibres ---- */

/* Pushes what a call must keep, leaves the stack pointer at *from, and goes on at `to`, where the same was done. */
extern "C" void emulated_switch(void **from, void *to);
asm(".globl emulated_switch\n"
    "emulated_switch:\n"
    "	push %rbp\n	push %rbx\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
    "	mov %rsp, (%rdi)\n"
    "	mov %rsi, %rsp\n"
    "	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbx\n	pop %rbp\n"
    "	ret\n");

struct fibre {
	void *sp;
	std::vector<char> stack;
	int block, thread;
};

/* Of the lanes that have come to a call together: what each brought, of this time and of the one before. */
struct warp {
	int arrived, kind;
	unsigned times;
	uint64_t values[2][32];
	emulated_words words[2][32];
	bool votes[2][32];
	std::vector<int> waiting;
};

struct gate {
	int threads;
	std::vector<int> waiting;
};

static struct {
	std::mt19937_64 random;
	std::vector<fibre> fibres;
	std::vector<warp> warps;
	std::vector<std::vector<char>> memory; /* of blocks */
	gate gates[EMULATED_BLOCKS_MAX][2];
	std::vector<int> ready;
	bool newest_first; /* of copies: the oldest is the last to be there */
	void *outside;
	const struct persistent_params *params;
	int current, unfinished;
	long steps, progress;              /* since which something was done that others wait for */
	struct emulated_watch *watch;      /* or null */
	int phase[EMULATED_BLOCKS_MAX];    /* of blocks, where they are watched */
	long entered[EMULATED_BLOCKS_MAX]; /* in which step they did */
} now;

static void leave()
{
	emulated_switch(&now.fibres[(size_t)now.current].sp, now.outside);
}

void emulated_yield()
{
	now.ready.push_back(now.current);
	leave();
}

static void run_kernel()
{
	const struct persistent_params &p = *now.params;
	if (p.k_type == TENSOR_F32 && p.v_type == TENSOR_F32)
		k_persistent_f32_f32(p);
	else if (p.k_type == TENSOR_F16 && p.v_type == TENSOR_F16)
		k_persistent_f16_f16(p);
	else if (p.k_type == TENSOR_BF16 && p.v_type == TENSOR_BF16)
		k_persistent_bf16_bf16(p);
	else if (p.k_type == TENSOR_Q8_0 && p.v_type == TENSOR_Q8_0)
		k_persistent_q8_0_q8_0(p);
	else if (p.k_type == TENSOR_F16 && p.v_type == TENSOR_Q8_0)
		k_persistent_f16_q8_0(p);
	else
		fail("no kernel for these caches");
}

/* ---- the clock, and who looks at it ---- */

enum : unsigned long long { CLOCK_FROM = 1000000000000000000 }; /* a GPU's is never near 0 */

unsigned long long nanoseconds()
{
	return CLOCK_FROM + (now.watch ? now.watch->step_ns * (unsigned long long)now.steps : 0);
}

static void enter_phase(int block, int phase)
{
	const unsigned long long steps = (unsigned long long)(now.steps - now.entered[block]);
	if (steps > now.watch->longest)
		now.watch->longest = steps;
	now.phase[block] = phase;
	now.entered[block] = now.steps;
}

/* Thread 0 of a block had its turn: by what that left for the watcher, which looks less often. */
static void see_phase(int block)
{
	const struct persistent_layout l = persistent_layout_of(now.params->program);
	const int phase = ((const struct persistent_program *)(emulated_shared + l.program))->phase;
	const bool between = phase < 0 || now.phase[block] < 0; /* not copied yet, or through */
	if (phase != now.phase[block] && !between)
		enter_phase(block, phase);
}

void give_up()
{
	struct emulated_watch *const w = now.watch;
	if (!w)
		fail("the watcher gave up");
	w->gave_up = true;
	w->block = (int)emulated_block.x;
	w->phase = now.phase[w->block];
	w->waited_ns = w->step_ns * (unsigned long long)(now.steps - now.entered[w->block]);
	leave();
	abort();
}

static bool is_withheld(const void *p)
{
	return now.watch && p == now.watch->withheld;
}

static void begin_fibre()
{
	run_kernel();
	if (now.watch && emulated_thread.x == 0)
		enter_phase((int)emulated_block.x, -1);
	now.unfinished--;
	now.progress = now.steps;
	leave();
	abort();
}

static void release(std::vector<int> &waiting)
{
	now.progress = now.steps;
	now.ready.insert(now.ready.end(), waiting.begin(), waiting.end());
	waiting.clear();
}

/* ---- warps and blocks ---- */

static warp &own_warp()
{
	const fibre &f = now.fibres[(size_t)now.current];
	return now.warps[(size_t)(f.block * WARPS + f.thread / 32)];
}

void emulated_meet(int kind)
{
	warp &w = own_warp();
	if (w.arrived && w.kind != kind)
		fail("its warp is at two places, calls of kinds %d and %d", w.kind, kind);
	w.kind = kind;
	if (++w.arrived < 32) {
		w.waiting.push_back(now.current);
		leave();
		return;
	}
	w.arrived = 0;
	w.times++;
	release(w.waiting);
}

uint64_t emulated_exchange(uint64_t v, int from, int kind)
{
	warp &w = own_warp();
	const unsigned time = w.times & 1;
	w.values[time][LANE] = v;
	emulated_meet(kind);
	return w.values[time][from];
}

const emulated_words *emulated_gather(const unsigned *own, size_t bytes, int kind)
{
	warp &w = own_warp();
	const unsigned time = w.times & 1;
	memcpy(w.words[time][LANE].of, own, bytes);
	emulated_meet(kind);
	return w.words[time];
}

unsigned emulated_ballot(bool p)
{
	warp &w = own_warp();
	const unsigned time = w.times & 1;
	unsigned all = 0;
	w.votes[time][LANE] = p;
	emulated_meet(5);
	for (int i = 0; i < 32; i++)
		all |= (unsigned)w.votes[time][i] << i;
	return all;
}

void emulated_barrier(int id, int n_threads)
{
	gate &g = now.gates[emulated_block.x][id];
	if (!g.waiting.empty() && g.threads != n_threads)
		fail("barrier %d is waited at for %d and for %d threads", id, g.threads, n_threads);
	g.threads = n_threads;
	if ((int)g.waiting.size() + 1 < n_threads) {
		g.waiting.push_back(now.current);
		leave();
		return;
	}
	release(g.waiting);
}

/* ---- barriers in shared memory, and copies that happen some time later ---- */

struct pending {
	int8_t arrivals, expected;
	uint8_t phase, set;
	int bytes;
};
static_assert(sizeof(pending) == sizeof(unsigned long long), "it stands in a barrier's place");

static pending &pending_of(unsigned long long *b)
{
	return *(pending *)b;
}

static void settle(pending &p)
{
	if (p.arrivals < 0)
		fail("a barrier is arrived at too often");
	if (p.arrivals || p.bytes)
		return;
	p.phase ^= 1;
	p.arrivals = p.expected;
	now.progress = now.steps;
}

void barrier_init(unsigned long long *b, int arrivals)
{
	pending_of(b) = {(int8_t)arrivals, (int8_t)arrivals, 0, 1, 0};
}

void barrier_expect(unsigned long long *b, unsigned bytes)
{
	pending &p = pending_of(b);
	if (p.bytes > 0)
		fail("a barrier is used for a copy while it waits for another one");
	p.bytes += (int)bytes;
	p.arrivals--;
	settle(p);
}

void barrier_arrive(unsigned long long *b, int times)
{
	pending &p = pending_of(b);
	p.arrivals = (int8_t)(p.arrivals - times);
	settle(p);
}

bool barrier_try(unsigned long long *b, unsigned parity)
{
	const pending &p = pending_of(b);
	if (p.set != 1)
		fail("a barrier is waited at that is none");
	if (p.phase == (parity & 1))
		emulated_yield();
	return p.phase != (parity & 1);
}

struct copy {
	char *to;
	const char *from;
	unsigned bytes;
	pending *barrier;
};
static std::vector<copy> copies;

/* Weights that the L2 was asked for and nobody copied yet, and those that somebody did. */
static std::unordered_map<const void *, unsigned> asked, copied;
static int n_asked;

void bulk_prefetch(const void *from, unsigned bytes, unsigned long long policy)
{
	if (policy != evict_first())
		return;
	if (asked.count(from) || copied.count(from))
		fail("the L2 is asked for weights that it was asked for, or that are copied");
	asked[from] = bytes;
	n_asked++;
}

/* All that it was asked for, as it was. */
static void expect_copied()
{
	if (!asked.empty())
		fail("the L2 was asked for %zu pieces of weights that nobody copies", asked.size());
	copied.clear();
}

int emulated_asked(void)
{
	return n_asked;
}

void bulk_copy(void *to, const void *from, unsigned bytes, unsigned long long *b, unsigned long long policy)
{
	if (policy == evict_first()) {
		const auto piece = asked.find(from);
		if (piece != asked.end() && piece->second != bytes)
			fail("the L2 was asked for %u bytes of a piece of %u", piece->second, bytes);
		if (piece != asked.end())
			asked.erase(piece);
		copied[from] = bytes;
	}
	char *const begin = (char *)to, *const end = begin + bytes;
	if ((uintptr_t)to % 16 || (uintptr_t)from % 16 || bytes % 16 || !bytes)
		fail("a copy of %u bytes from %p to %p is misaligned", bytes, from, to);
	if (begin < emulated_shared || end > emulated_shared + now.params->shared_bytes)
		fail("a copy leaves the shared memory");
	for (const copy &c : copies)
		if (c.to < end && begin < c.to + c.bytes)
			fail("a copy is on its way to where another one goes");
	memset(to, 0xff, bytes);
	if (is_withheld(from))
		return;
	copies.push_back({begin, (const char *)from, bytes, &pending_of(b)});
}

static void complete_one()
{
	const size_t i = now.newest_first ? copies.size() - 1 : now.random() % copies.size();
	const copy c = copies[i];
	copies.erase(copies.begin() + (long)i);
	memcpy(c.to, c.from, c.bytes);
	c.barrier->bytes -= (int)c.bytes;
	settle(*c.barrier);
}

/* ---- memory that blocks share ---- */

static std::unordered_map<const void *, int> stored;

void store_now(void *p, unsigned v)
{
	now.progress = now.steps;
	if (stored[p]++)
		fail("an element is written twice in a token");
	if (!is_withheld(p))
		*(unsigned *)p = v;
}

void store_now64(unsigned long long *p, unsigned long long v)
{
	now.progress = now.steps;
	*p = v;
}

unsigned arrive(unsigned *counter)
{
	now.progress = now.steps;
	return (*counter)++;
}

/* ---- a token ---- */

static void prepare(int n_blocks)
{
	if (now.fibres.size() == (size_t)(n_blocks * THREADS))
		return;
	if (n_blocks > EMULATED_BLOCKS_MAX)
		fail("%d blocks are more than there may be", n_blocks);
	now.fibres.resize((size_t)(n_blocks * THREADS));
	for (fibre &f : now.fibres)
		f.stack.resize(STACK_BYTES);
	now.warps.resize((size_t)(n_blocks * WARPS));
	now.memory.resize((size_t)n_blocks);
	for (auto &m : now.memory)
		m.resize(EMULATED_SHARED_BYTES + 128);
}

static char *shared_of(int block)
{
	return (char *)(((uintptr_t)now.memory[(size_t)block].data() + 127) & ~(uintptr_t)127);
}

static void start_fibre(int i)
{
	fibre &f = now.fibres[(size_t)i];
	void **sp = (void **)((uintptr_t)(f.stack.data() + STACK_BYTES) & ~(uintptr_t)63);
	*--sp = nullptr; /* as after a call */
	*--sp = (void *)begin_fibre;
	sp -= 6;
	f.sp = sp;
	f.block = i / THREADS;
	f.thread = i % THREADS;
	now.ready.push_back(i);
}

/* At random, but for a while a block is ahead of the others, and of each block one warp is behind. */
struct turns {
	int ahead = 0, behind[EMULATED_BLOCKS_MAX] = {};
	long until = 0;

	size_t next(int n_blocks)
	{
		if (--until < 0) {
			ahead = (int)(now.random() % (unsigned)n_blocks);
			for (int &w : behind)
				w = (int)(now.random() % WARPS);
			until = (long)(now.random() % A_WHILE);
		}
		size_t i = now.random() % now.ready.size();
		for (int tries = 0; tries < 24; tries++) {
			const fibre &f = now.fibres[(size_t)now.ready[i]];
			if ((f.block == ahead || tries > 3) && f.thread / 32 != behind[f.block])
				break;
			i = now.random() % now.ready.size();
		}
		return i;
	}
};

static void take_turn(size_t i)
{
	now.current = now.ready[i];
	now.ready[i] = now.ready.back();
	now.ready.pop_back();
	const fibre &f = now.fibres[(size_t)now.current];
	emulated_thread.x = (unsigned)f.thread;
	emulated_block.x = (unsigned)f.block;
	emulated_shared = shared_of(f.block);
	now.steps++;
	emulated_switch(&now.outside, f.sp);
	if (now.watch && f.thread == 0)
		see_phase(f.block);
}

static bool all_wait()
{
	if (now.watch)
		return now.steps > MOST_STEPS;
	if (now.steps - now.progress > STUCK_STEPS)
		fail("all wait");
	return false;
}

/* Nothing of a token that was given up is left; stacks that nobody left may be marked as in use. */
static void forget()
{
	now.fibres.clear();
	now.warps.clear();
	now.ready.clear();
	for (auto &block : now.gates)
		for (gate &g : block)
			g.waiting.clear();
	copies.clear();
	asked.clear();
	copied.clear();
}

/* Steps, about: of the last that is left of those which come in turn, so many that whoever can goes on without it. */
static unsigned copy_takes()
{
	return now.newest_first && copies.size() == 1 ? 1 << 14 : 1 << 6;
}

static void run_token(const struct persistent_params *p, unsigned seed, struct emulated_watch *w)
{
	turns turns;
	const int n_begin = p->n_blocks - (w ? w->absent : 0);
	now.random.seed(seed);
	now.newest_first = seed % 2;
	now.params = p;
	now.watch = w;
	emulated_grid = {(unsigned)p->n_blocks, 1, 1};
	prepare(p->n_blocks);
	stored.clear();
	now.steps = now.progress = 0;
	now.unfinished = n_begin * THREADS;
	for (int b = 0; b < p->n_blocks; b++) {
		memset(shared_of(b), 0xff, EMULATED_SHARED_BYTES);
		now.phase[b] = 0; /* as the program's copy has it from the start */
		now.entered[b] = 0;
	}
	for (int i = 0; i < n_begin * THREADS; i++)
		start_fibre(i);
	while (now.unfinished && !(w && w->gave_up) && !all_wait()) {
		if (!copies.empty() && (now.ready.empty() || now.random() % copy_takes() == 0))
			complete_one();
		else if (now.ready.empty())
			fail("none can go on");
		else
			take_turn(turns.next(p->n_blocks));
	}
}

static void expect_done()
{
	if (!copies.empty())
		fail("copies are on their way when all is done");
	expect_copied();
}

void emulated_persistent(const struct persistent_params *p, unsigned seed)
{
	run_token(p, seed, nullptr);
	expect_done();
}

void emulated_persistent_watched(const struct persistent_params *p, unsigned seed, struct emulated_watch *w)
{
	run_token(p, seed, w);
	w->done = !now.unfinished;
	w->steps = (unsigned long long)now.steps;
	now.watch = nullptr;
	if (w->done)
		expect_done();
	else
		forget();
}

/* Its threads have nothing in common. */
void emulated_persistent_tile(const struct persistent_tile_params *p)
{
	const long long n = (long long)(p->tile_bytes / 16) * p->n_tiles;
	for (long long i = 0; i < n; i++) {
		emulated_block.x = (unsigned)(i / 256);
		emulated_thread.x = (unsigned)(i % 256);
		k_persistent_tile(*p);
	}
}
