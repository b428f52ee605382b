/* Lookups in a vocabulary; reading one is vocabulary_read.c. */
#include "engine/text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/text/vocabulary_internal.h"

size_t vocabulary_slot(const struct vocabulary *v, const char *text, size_t n)
{
	size_t at = (size_t)hash_bytes(text, n, v->seed) & v->mask;
	while (v->table[at] >= 0) {
		const struct piece *p = &v->pieces[v->table[at]];
		if ((size_t)p->size == n && !memcmp(p->text, text, n))
			break;
		at = (at + 1) & v->mask;
	}
	return at;
}

size_t vocabulary_merge_slot(const struct vocabulary *v, int left, int right)
{
	/* The finaliser of splitmix64: every bit of both decides. */
	uint64_t z = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) ^ v->seed;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	size_t at = (size_t)(z ^ (z >> 31)) & v->merge_mask;
	while (v->merges[at].rank >= 0 && (v->merges[at].left != left || v->merges[at].right != right))
		at = (at + 1) & v->merge_mask;
	return at;
}

int vocabulary_find(const struct vocabulary *v, const char *text, size_t n)
{
	return v->table[vocabulary_slot(v, text, n)];
}

const struct merge *vocabulary_merge(const struct vocabulary *v, int left, int right)
{
	const struct merge *m = &v->merges[vocabulary_merge_slot(v, left, right)];
	return m->rank < 0 ? NULL : m;
}

/* The first special piece in [first, last) that is, at byte `at`, not before `byte`. */
static int narrow(const struct vocabulary *v, int first, int last, int at, int byte)
{
	while (first < last) {
		int half = first + (last - first) / 2;
		const struct piece *p = &v->pieces[v->specials[half]];
		if (at < p->size && (unsigned char)p->text[at] >= byte)
			last = half;
		else
			first = half + 1;
	}
	return first;
}

int vocabulary_special(const struct vocabulary *v, const char *text, size_t n, bool control)
{
	int first = 0, last = v->n_specials, found = -1;
	if (!n || !v->special_first[(unsigned char)*text])
		return -1;
	for (size_t i = 0; i < n && first < last; i++) {
		int byte = (unsigned char)text[i];
		first = narrow(v, first, last, (int)i, byte);
		last = narrow(v, first, last, (int)i, byte + 1);
		/* Of those that begin alike the shortest comes first. */
		for (int k = first; k < last; k++) {
			const struct piece *p = &v->pieces[v->specials[k]];
			if (p->size > (int)i + 1)
				break;
			if (control || p->kind == PIECE_USER_DEFINED)
				found = v->specials[k];
		}
	}
	return found;
}

void vocabulary_free(struct vocabulary *v)
{
	free(v->pieces);
	free(v->text);
	free(v->specials);
	free(v->table);
	free(v->merges);
	*v = (struct vocabulary){0};
}
