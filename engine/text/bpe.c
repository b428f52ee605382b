#include "engine/text/bpe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* A character, or what it has merged to. */
struct bpe_symbol {
	int at, size; /* size 0: merged into the one before */
	int previous, next;
	int id; /* -1: no piece */
};

struct bpe_pair {
	uint64_t order; /* the least first: the rank, then the place */
	int left, right;
	int size; /* of both when the pair was made: another now, and it is out of date */
	int id;
};

int token_ids_add(struct token_ids *t, int id, struct error *err)
{
	if (t->n == t->capacity) {
		size_t capacity = t->capacity ? 2 * t->capacity : 256;
		int *grown = realloc(t->ids, capacity * sizeof *grown);
		if (!grown)
			return error_set(err, ERROR_MEMORY, "no memory for %zu tokens", capacity);
		t->ids = grown;
		t->capacity = capacity;
	}
	t->ids[t->n++] = id;
	return 0;
}

void token_ids_free(struct token_ids *t)
{
	free(t->ids);
	*t = (struct token_ids){0};
}

void bpe_free(struct bpe *b)
{
	free(b->symbols);
	free(b->heap);
	*b = (struct bpe){0};
}

/* A score as a rank: the higher, the earlier. */
static uint32_t rank_of(float score)
{
	uint32_t bits;
	score += 0.0f; /* -0 is 0 */
	memcpy(&bits, &score, sizeof bits);
	return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

static int push(struct bpe *b, struct bpe_pair pair, struct error *err)
{
	if (b->n_heap == b->heap_capacity) {
		size_t capacity = b->heap_capacity ? 2 * b->heap_capacity : 256;
		struct bpe_pair *grown = realloc(b->heap, capacity * sizeof *grown);
		if (!grown)
			return error_set(err, ERROR_MEMORY, "no memory for %zu pairs of characters", capacity);
		b->heap = grown;
		b->heap_capacity = capacity;
	}
	size_t i = b->n_heap++;
	while (i && b->heap[(i - 1) / 2].order > pair.order) {
		b->heap[i] = b->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	b->heap[i] = pair;
	return 0;
}

static struct bpe_pair pop(struct bpe *b)
{
	struct bpe_pair top = b->heap[0], last = b->heap[--b->n_heap];
	size_t i = 0, child;
	while ((child = 2 * i + 1) < b->n_heap) {
		child += child + 1 < b->n_heap && b->heap[child + 1].order < b->heap[child].order;
		if (last.order <= b->heap[child].order)
			break;
		b->heap[i] = b->heap[child];
		i = child;
	}
	b->heap[i] = last;
	return top;
}

/* Into the heap where the two merge. */
static int offer(struct bpe *b, const struct vocabulary *v, const char *text, int left, int right, struct error *err)
{
	if (left < 0 || right < 0)
		return 0;
	const struct bpe_symbol *p = &b->symbols[left], *q = &b->symbols[right];
	struct bpe_pair pair = {.left = left, .right = right, .size = p->size + q->size, .id = -1};
	uint32_t rank = 0;
	if (v->kind == VOCABULARY_SCORES) {
		if (pair.size <= PIECE_BYTES_MAX)
			pair.id = vocabulary_find(v, text + p->at, (size_t)pair.size);
		if (pair.id >= 0)
			rank = rank_of(v->pieces[pair.id].score);
	} else if (p->id >= 0 && q->id >= 0) {
		const struct merge *m = vocabulary_merge(v, p->id, q->id);
		if (m) {
			pair.id = m->id;
			rank = (uint32_t)m->rank;
		}
	}
	if (pair.id < 0)
		return 0;
	pair.order = (uint64_t)rank << 32 | (uint32_t)p->at;
	return push(b, pair, err);
}

static int split(struct bpe *b, const struct vocabulary *v, const char *text, size_t n, struct error *err)
{
	if (n > b->symbols_capacity) {
		struct bpe_symbol *grown = realloc(b->symbols, n * sizeof *grown);
		if (!grown)
			return error_set(err, ERROR_MEMORY, "no memory for %zu characters", n);
		b->symbols = grown;
		b->symbols_capacity = n;
	}
	b->n_symbols = b->n_heap = 0;
	for (size_t i = 0; i < n;) {
		int size = 1, k = (int)b->n_symbols;
		if (v->kind != VOCABULARY_BYTES && (unsigned char)text[i] >= 0x80 &&
		    !(size = text_utf8_length(text + i)))
			size = 1;
		int id = v->kind == VOCABULARY_BYTES ? v->byte_ids[(unsigned char)text[i]]
						     : vocabulary_find(v, text + i, (size_t)size);
		b->symbols[b->n_symbols++] = (struct bpe_symbol){(int)i, size, k - 1, k + 1, id};
		i += (size_t)size;
	}
	b->symbols[b->n_symbols - 1].next = -1;
	return 0;
}

int bpe_encode(struct bpe *b, const struct vocabulary *v, const char *text, size_t n, struct token_ids *out,
	       struct error *err)
{
	if (!n)
		return 0;
	assert(n <= BPE_TEXT_MAX);
	int rc = split(b, v, text, n, err);
	for (int i = 1; !rc && i < (int)b->n_symbols; i++)
		rc = offer(b, v, text, i - 1, i, err);
	while (!rc && b->n_heap) {
		struct bpe_pair pair = pop(b);
		struct bpe_symbol *left = &b->symbols[pair.left], *right = &b->symbols[pair.right];
		if (!left->size || !right->size || left->size + right->size != pair.size)
			continue;
		left->size = pair.size;
		left->id = pair.id;
		left->next = right->next;
		right->size = 0;
		if (left->next >= 0)
			b->symbols[left->next].previous = pair.left;
		rc = offer(b, v, text, left->previous, pair.left, err);
		if (!rc)
			rc = offer(b, v, text, pair.left, left->next, err);
	}
	for (int i = 0; !rc && i >= 0; i = b->symbols[i].next) {
		const struct bpe_symbol *s = &b->symbols[i];
		if (s->id >= 0)
			rc = token_ids_add(out, s->id, err);
		for (int k = 0; s->id < 0 && !rc && k < s->size; k++)
			rc = token_ids_add(out, v->byte_ids[(unsigned char)text[s->at + k]], err);
	}
	return rc;
}
