/*
 * Byte-pair encoding of a stretch of text: characters (bytes, in a vocabulary of bytes), of which two neighbours
 * become one as long as any may, the best pair first and of equal ones the leftmost. Pairs wait in a heap, characters
 * are a linked list: n log n.
 */
#ifndef GEMMARK_ENGINE_TEXT_BPE_H
#define GEMMARK_ENGINE_TEXT_BPE_H

#include "engine/text/vocabulary.h"

/* Token ids, growing. Zeroed: empty. */
struct token_ids {
	int *ids; /* (n), freed by token_ids_free */
	size_t n, capacity;
};
int token_ids_add(struct token_ids *t, int id, struct error *err);
void token_ids_free(struct token_ids *t);

/* What encodings need of memory, kept from one to the next. Zeroed: nothing. */
struct bpe {
	struct bpe_symbol *symbols;
	struct bpe_pair *heap;
	size_t n_symbols, symbols_capacity, n_heap, heap_capacity;
};
void bpe_free(struct bpe *b);

enum { BPE_TEXT_MAX = 1 << 30 }; /* bytes of a stretch */

/* text: (n), spaces as the vocabulary has them, four zero bytes behind. Appends its tokens. */
int bpe_encode(struct bpe *b, const struct vocabulary *v, const char *text, size_t n, struct token_ids *out,
	       struct error *err);

#endif
