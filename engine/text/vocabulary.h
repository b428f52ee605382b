/*
 * A model's vocabulary, from the metadata of its GGUF file: pieces, how two of them merge, and what is special.
 *
 * Three kinds of vocabulary are known, by tokenizer.ggml.model:
 * - "llama": SentencePiece's BPE. A space is U+2581 in pieces; two neighbours merge where their text is a piece, the
 *   piece of the highest score first; what is no piece is bytes, <0x00> to <0xFF>.
 * - "gemma4": the same pieces and bytes, but merges are a list, the first one first. Runs of newlines stand alone.
 * - "gpt2" with tokenizer.ggml.pre "qwen2": pieces are bytes, each written as one of GPT-2's 256 letters; text is cut
 *   into words first (pretokenize.h); merges are a list.
 *
 * All of it is copied: the file may be closed. It is untrusted; a bad one ends in one line. Names are hashed with a
 * seed of their own, so that a file cannot choose collisions.
 */
#ifndef GEMMARK_ENGINE_TEXT_VOCABULARY_H
#define GEMMARK_ENGINE_TEXT_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/model/gguf.h"

enum vocabulary_kind {
	VOCABULARY_SCORES, /* llama */
	VOCABULARY_MERGES, /* gemma4 */
	VOCABULARY_BYTES,  /* gpt2 */
};

/* As tokenizer.ggml.token_type numbers them. */
enum piece_kind {
	PIECE_NORMAL = 1,
	PIECE_UNKNOWN,
	PIECE_CONTROL,
	PIECE_USER_DEFINED,
	PIECE_UNUSED,
	PIECE_BYTE,
};

/* What stands for a space, in UTF-8. */
#define SPACE_MARK "\xe2\x96\x81"

enum {
	PIECE_BYTES_MAX = 1024, /* of one piece */
	VOCABULARY_MAX = 1 << 24,
	SPACE_MARK_BYTES = 3,
};

/* As text is matched with it: spaces are marks, a byte vocabulary's letters are bytes. */
struct piece {
	const char *text; /* (size), and a zero byte behind */
	int size;
	enum piece_kind kind;
	float score;
};

struct merge {
	int left, right;
	int rank; /* 0: first */
	int id;   /* of both together */
};

struct vocabulary {
	enum vocabulary_kind kind;
	int n;
	struct piece *pieces; /* (n) */
	int byte_ids[256];
	bool joined[256]; /* a piece has a space behind this byte: elsewhere a space begins what merges together */
	int *specials;    /* (n_specials): control and user-defined pieces, by their text */
	int n_specials;
	bool special_first[256]; /* a special piece begins with this byte */
	int bos, eos, eot;       /* -1: none */
	bool add_bos;
	bool add_space_prefix;

	/* internal */
	char *text;
	uint64_t seed;
	int *table; /* (mask + 1): normal pieces by their text, -1: none */
	size_t mask;
	struct merge *merges; /* (merge_mask + 1) by left and right; rank -1: none */
	size_t merge_mask;
};

/*
 * ERROR_INPUT says what is wrong with the file, ERROR_UNSUPPORTED which kind it has, or that it has none. Call
 * vocabulary_free also after a failure.
 */
int vocabulary_read(struct vocabulary *v, const struct gguf *g, struct error *err);
void vocabulary_free(struct vocabulary *v);

/* The normal piece of that text (n bytes); -1: none. */
int vocabulary_find(const struct vocabulary *v, const char *text, size_t n);
/* What the two pieces merge to; null: they do not. Of vocabularies with a list of merges. */
const struct merge *vocabulary_merge(const struct vocabulary *v, int left, int right);
/*
 * The longest special piece that `text` (n bytes) begins with, user-defined or, where `control`, of either kind; -1:
 * none.
 */
int vocabulary_special(const struct vocabulary *v, const char *text, size_t n, bool control);

#endif
