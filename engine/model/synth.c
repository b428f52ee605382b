/*
 * The values of synthetic model files, and writing them. What a file holds is
 * synth_arch.c's.
 *
 * Values come in blocks of 32, each from eight splitmix64 outputs numbered by the
 * block's place in its tensor, so that any block can be made on its own. The outputs'
 * 32 words of 16 bits are uniform; four at a time go through a 4-point Hadamard
 * transform, which gives four uncorrelated sums of four uniforms: bell-shaped, kurtosis
 * 2.7, within 3.46 standard deviations, and without a logarithm or a cosine. Sums are
 * integers and the one multiplication and addition behind them float32, so that the
 * bytes are the same everywhere.
 *
 * Writing is in parallel over pieces of tensors, each made in memory and written to its
 * place.
 */
#include "engine/model/synth.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/model/quantize.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/team.h"

enum {
	BLOCK = 32,
	LANES = BLOCK / 4,
	PIECE = 1 << 17, /* elements made and written at once: fits the second-level cache in every type */
};

/* Standard deviation of a sum of four words uniform on 65536 values: sqrt(4 * (65536^2 - 1) / 12). */
static const float sum_spread = 37837.227f;

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static const uint64_t golden_gamma = 0x9e3779b97f4a7c15u; /* splitmix64's increment */

/* FNV-1a of the name, mixed with the seed. */
static uint64_t tensor_key(const char *name, uint64_t seed)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (const char *c = name; *c; c++)
		h = (h ^ (unsigned char)*c) * 0x100000001b3u;
	return mix(h ^ mix(seed + golden_gamma));
}

static void random_block(uint64_t key, uint64_t block, int32_t sums[BLOCK])
{
	uint64_t words[BLOCK / 4];
	uint64_t counter = key + block * (BLOCK / 4) * golden_gamma;
	for (int i = 0; i < BLOCK / 4; i++)
		words[i] = mix(counter += golden_gamma);
	int16_t u[BLOCK];
	static_assert(sizeof u == sizeof words, "four 16-bit values a word");
	memcpy(u, words, sizeof u);
	for (int i = 0; i < LANES; i++) {
		int32_t a = u[i], b = u[LANES + i], c = u[2 * LANES + i], d = u[3 * LANES + i];
		/* The words' mean is -1/2: only the sum of all four has to be centred. */
		sums[i] = a + b + c + d + 2;
		sums[LANES + i] = a - b + c - d;
		sums[2 * LANES + i] = a + b - c - d;
		sums[3 * LANES + i] = a - b - c + d;
	}
}

static void block_values(const struct synth_tensor *t, uint64_t key, uint64_t block, float x[BLOCK])
{
	if (t->fill == SYNTH_FILL_ROPE_FREQS) {
		for (int i = 0; i < BLOCK; i++)
			x[i] = (int64_t)block * BLOCK + i < t->ne[0] / 4 ? 1.0f : 1e30f;
		return;
	}
	int32_t sums[BLOCK];
	random_block(key, block, sums);
	float scale = t->spread / sum_spread, mean = t->mean;
	for (int i = 0; i < BLOCK; i++)
		x[i] = mean + scale * (float)sums[i];
	if (t->round_bf16)
		for (int i = 0; i < BLOCK; i++)
			x[i] = half_bf16_to_f32(half_f32_to_bf16(x[i]));
}

/* Of types without blocks up to 32, of the others one block. */
static void put_values(enum tensor_type type, const float *x, size_t count, unsigned char *to)
{
	uint16_t half[BLOCK];
	switch (type) {
	case TENSOR_F32:
		memcpy(to, x, count * sizeof *x);
		return;
	case TENSOR_F16:
		for (int i = 0; i < BLOCK; i++)
			half[i] = half_f32_to_f16(x[i]);
		memcpy(to, half, count * sizeof *half);
		return;
	case TENSOR_BF16:
		for (int i = 0; i < BLOCK; i++)
			half[i] = half_f32_to_bf16(x[i]);
		memcpy(to, half, count * sizeof *half);
		return;
	default:
		quantize_block(type, x, to);
	}
}

void synth_tensor_fill(const struct synth_tensor *t, uint64_t seed, int64_t first, int64_t n, void *out)
{
	const struct tensor_traits *traits = tensor_type_traits(t->type);
	int64_t step = traits->block > BLOCK ? traits->block : BLOCK;
	assert(first % step == 0 && first + n <= synth_tensor_elements(t) && n % traits->block == 0);
	uint64_t key = tensor_key(t->name, seed);
	unsigned char *to = out;
	for (int64_t done = 0; done < n; done += step) {
		size_t count = n - done < step ? (size_t)(n - done) : (size_t)step;
		float x[QUANTIZE_BLOCK_MAX];
		for (size_t i = 0; i < count; i += BLOCK)
			block_values(t, key, (uint64_t)(first + done) / BLOCK + i / BLOCK, x + i);
		put_values(t->type, x, count, to);
		to += tensor_type_bytes(t->type, count);
	}
}

/* Fails with one line where the file system that `path` lies on has less free than `need`. */
static int check_space(const char *path, uint64_t need, struct error *err)
{
	char *copy = strdup(path);
	if (!copy)
		return error_set(err, ERROR_MEMORY, "%s: no memory for its name", path);
	struct statvfs fs;
	int rc = 0;
	/* Where it cannot be asked, opening the file says why. */
	if (statvfs(dirname(copy), &fs) == 0) {
		uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
		if (available < need)
			rc = error_set(
				err, ERROR_IO,
				"%s: needs %llu bytes (%.2f GB), but %llu bytes (%.2f GB) are free there; free some "
				"or write elsewhere",
				path, (unsigned long long)need, (double)need / 1e9, (unsigned long long)available,
				(double)available / 1e9);
	}
	free(copy);
	return rc;
}

/* 0 or errno. */
static int write_at(int fd, const unsigned char *data, size_t bytes, uint64_t offset)
{
	while (bytes) {
		ssize_t n = pwrite(fd, data, bytes, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : ENOSPC;
		data += n;
		bytes -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

/* What the threads of one synth_write share. */
struct job {
	const struct synth_plan *plan;
	const struct gguf_writer *writer;
	int64_t *first_piece; /* (n_tensors + 1), pieces numbered through all tensors */
	uint64_t total;
	unsigned char **buffers; /* a thread's each, made when it comes to it */
	synth_progress *progress;
	void *ctx;
	uint64_t done; /* atomic */
	int failure;   /* atomic: 0, errno, or CANCELLED */
};

enum { CANCELLED = -1 };

static int tensor_of_piece(const struct job *j, int64_t piece)
{
	int low = 0, high = j->plan->n_tensors;
	while (high - low > 1) {
		int middle = low + (high - low) / 2;
		if (j->first_piece[middle] <= piece)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static int write_piece(struct job *j, int64_t piece, unsigned char *buffer)
{
	int i = tensor_of_piece(j, piece);
	const struct synth_tensor *t = &j->plan->tensors[i];
	int64_t first = (piece - j->first_piece[i]) * PIECE, left = synth_tensor_elements(t) - first;
	int64_t n = left < PIECE ? left : PIECE;
	size_t bytes = tensor_type_bytes(t->type, (size_t)n);
	uint64_t offset = gguf_writer_offset(j->writer, i) + tensor_type_bytes(t->type, (size_t)first);

	synth_tensor_fill(t, j->plan->options.seed, first, n, buffer);
	int rc = write_at(gguf_writer_fd(j->writer), buffer, bytes, offset);
	if (rc == 0)
		__atomic_add_fetch(&j->done, bytes, __ATOMIC_RELAXED);
	return rc;
}

static void write_part(void *ctx, int begin, int end, int thread)
{
	struct job *j = ctx;
	unsigned char **buffer = &j->buffers[thread];
	if (!*buffer)
		*buffer = malloc(PIECE * sizeof(float));
	for (int piece = begin; piece < end; piece++) {
		if (__atomic_load_n(&j->failure, __ATOMIC_RELAXED))
			return;
		int rc = *buffer ? write_piece(j, piece, *buffer) : ENOMEM;
		if (rc == 0 && j->progress && thread == 0 &&
		    j->progress(j->ctx, __atomic_load_n(&j->done, __ATOMIC_RELAXED), j->total))
			rc = CANCELLED;
		if (rc)
			__atomic_store_n(&j->failure, rc, __ATOMIC_RELAXED);
	}
}

static void write_pieces(struct job *j, int n_threads)
{
	int64_t n_pieces = j->first_piece[j->plan->n_tensors];
	struct cpu_team *team = cpu_team_open(n_threads);
	assert(n_pieces <= INT_MAX);
	j->buffers = calloc((size_t)n_threads, sizeof *j->buffers);
	if (team && j->buffers) {
		struct cpu_team *before = cpu_team_use(team);
		cpu_parallel((int)n_pieces, 1, write_part, j);
		cpu_team_use(before);
	} else {
		j->failure = ENOMEM;
	}
	cpu_team_close(team);
	for (int i = 0; j->buffers && i < n_threads; i++)
		free(j->buffers[i]);
	free(j->buffers);
	if (!j->failure && j->progress && j->progress(j->ctx, j->done, j->total))
		j->failure = CANCELLED;
}

static int write_data(const struct synth_plan *p, struct gguf_writer *w, const char *path, int n_threads,
		      synth_progress *progress, void *ctx, struct error *err)
{
	struct job j = {.plan = p, .writer = w, .progress = progress, .ctx = ctx};
	j.first_piece = malloc(((size_t)p->n_tensors + 1) * sizeof *j.first_piece);
	if (!j.first_piece)
		return error_set(err, ERROR_MEMORY, "%s: no memory for the list of %d tensors", path, p->n_tensors);
	j.first_piece[0] = 0;
	for (int i = 0; i < p->n_tensors; i++) {
		int64_t n = synth_tensor_elements(&p->tensors[i]);
		j.first_piece[i + 1] = j.first_piece[i] + (n + PIECE - 1) / PIECE;
		j.total += tensor_type_bytes(p->tensors[i].type, (size_t)n);
	}
	write_pieces(&j, n_threads);
	free(j.first_piece);

	if (j.failure == CANCELLED)
		return error_set(err, ERROR_IO, "%s: interrupted; nothing is left of it", path);
	if (j.failure == ENOMEM)
		return error_set(err, ERROR_MEMORY, "%s: no memory for %d threads and their buffers; use fewer", path,
				 n_threads);
	if (j.failure)
		return error_set(err, ERROR_IO, "%s: cannot write (of %llu bytes of data): %s", path,
				 (unsigned long long)j.total, strerror(j.failure));
	return 0;
}

int synth_write(const struct synth_plan *p, const char *path, bool replace, int n_threads, synth_progress *progress,
		void *ctx, struct error *err)
{
	int rc = check_space(path, synth_plan_bytes(p), err);
	if (rc)
		return rc;
	struct gguf_writer *w = NULL;
	rc = gguf_writer_open(&w, path, replace, err);
	if (rc)
		return rc;
	synth_plan_metadata(p, w);
	for (int i = 0; i < p->n_tensors; i++) {
		const struct synth_tensor *t = &p->tensors[i];
		int index = gguf_writer_tensor(w, t->name, t->type, t->n_dims, t->ne);
		assert(index == i);
		(void)index;
	}
	rc = gguf_writer_begin(w, err);
	if (rc == 0)
		rc = write_data(p, w, path, n_threads, progress, ctx, err);
	if (rc) {
		gguf_writer_abort(w);
		return rc;
	}
	return gguf_writer_end(w, err);
}
