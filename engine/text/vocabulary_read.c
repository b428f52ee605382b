/*
 * Reading a vocabulary from a GGUF file's metadata. Every count is the file's own and bounded by its size; every id,
 * score and piece is looked at before anything uses it.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "engine/text/vocabulary_internal.h"

#define MODEL "tokenizer.ggml.model"
#define PRE "tokenizer.ggml.pre"
#define TOKENS "tokenizer.ggml.tokens"
#define SCORES "tokenizer.ggml.scores"
#define TYPES "tokenizer.ggml.token_type"
#define MERGES "tokenizer.ggml.merges"
#define CONVERT "convert the model again with a current converter"

/* What is read once, and not kept. */
struct reading {
	struct vocabulary *v;
	const struct gguf *g;
	struct gguf_string *strings; /* of the pieces, then of the merges */
	struct error *err;
};

static int bad(const struct reading *r, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int bad(const struct reading *r, int code, const char *format, ...)
{
	char what[320];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	return error_set(r->err, code, "%s: %s", text_show_path(r->g->path).text, what);
}

static int no_memory(const struct reading *r)
{
	return bad(r, ERROR_MEMORY, "no memory for its vocabulary");
}

static bool is(struct gguf_string s, const char *word)
{
	return s.size == strlen(word) && !memcmp(s.data, word, s.size);
}

static int read_kind(struct reading *r)
{
	struct gguf_string model, pre;
	int rc = 0;
	if (!gguf_find(r->g, MODEL))
		return bad(r, ERROR_UNSUPPORTED,
			   "has no vocabulary (no " MODEL
			   "): of text no tokens can be made; use a model's published file");
	if ((rc = gguf_get_string(r->g, MODEL, &model, r->err)))
		return rc;
	if (is(model, "none"))
		return bad(r, ERROR_UNSUPPORTED,
			   "has no vocabulary (" MODEL " is none): of text no tokens can be made; use a model's "
			   "published file");
	if (is(model, "llama") || is(model, "gemma4")) {
		r->v->kind = is(model, "llama") ? VOCABULARY_SCORES : VOCABULARY_MERGES;
		return 0;
	}
	if (!is(model, "gpt2"))
		return bad(r, ERROR_UNSUPPORTED,
			   MODEL " is %s; this program reads llama, gemma4 and gpt2: give a model with one of these",
			   text_show(model.data, model.size).text);
	r->v->kind = VOCABULARY_BYTES;
	if ((rc = gguf_get_string(r->g, PRE, &pre, r->err)))
		return rc;
	return is(pre, "qwen2")
		       ? 0
		       : bad(r, ERROR_UNSUPPORTED,
			     PRE " is %s; of gpt2's vocabularies this program reads qwen2: give a model with that one",
			     text_show(pre.data, pre.size).text);
}

/* The items of an array of which the vocabulary needs n; 0: any number from 1 on. */
static int check_array(const struct reading *r, const char *key, uint64_t n, uint64_t *n_items)
{
	const struct gguf_kv *kv = gguf_find(r->g, key);
	if (!kv)
		return bad(r, ERROR_INPUT, "metadata key %s is missing; " CONVERT, key);
	if (kv->type != GGUF_ARRAY)
		return bad(r, ERROR_INPUT, "metadata key %s is no array; " CONVERT, key);
	if (n && kv->n_items != n)
		return bad(r, ERROR_INPUT, "%s has %" PRIu64 " items and " TOKENS " %" PRIu64 "; " CONVERT, key,
			   kv->n_items, n);
	if (!n && (!kv->n_items || kv->n_items > VOCABULARY_MAX))
		return bad(r, ERROR_INPUT, "%s has %" PRIu64 " items, expected 1 to %d; " CONVERT, key, kv->n_items,
			   VOCABULARY_MAX);
	*n_items = kv->n_items;
	return 0;
}

static int read_strings(struct reading *r, const char *key, uint64_t *n)
{
	int rc = check_array(r, key, 0, n);
	if (rc)
		return rc;
	free(r->strings);
	if (!(r->strings = malloc(*n * sizeof *r->strings)))
		return no_memory(r);
	return gguf_get_strings(r->g, key, r->strings, *n, r->err);
}

static int bad_piece(const struct reading *r, int i, const char *why)
{
	return bad(r, ERROR_INPUT, TOKENS "[%d] '%s' %s; " CONVERT, i,
		   text_show(r->strings[i].data, r->strings[i].size).text, why);
}

/* GPT-2's letter of each byte: those that can be seen are their own, the others are from U+0100 on. */
static int letter_of(int byte)
{
	int others = 0;
	for (int b = 0; b <= byte; b++) {
		bool seen = (b > 32 && b < 127) || (b > 160 && b != 173);
		if (b == byte)
			return seen ? b : 256 + others;
		others += !seen;
	}
	return 0;
}

enum { LETTERS = 0x180 };

/* Bytes of letters (n) to out; false where one is none. */
static bool bytes_of(const short byte_of[LETTERS], const char *s, size_t n, char *out, int *size)
{
	*size = 0;
	for (size_t i = 0; i < n; i++) {
		int point = (unsigned char)s[i];
		if (point >= 0xc0) {
			if (i + 1 == n || point > 0xc5)
				return false;
			point = (point & 0x1f) << 6 | ((unsigned char)s[++i] & 0x3f);
		} else if (point >= 0x80) {
			return false;
		}
		if (point >= LETTERS || byte_of[point] < 0)
			return false;
		out[(*size)++] = (char)byte_of[point];
	}
	return true;
}

static void mark_spaces(struct gguf_string s, char *out, int *size)
{
	*size = 0;
	for (size_t i = 0; i < s.size; i++) {
		if (s.data[i] == ' ') {
			memcpy(out + *size, SPACE_MARK, SPACE_MARK_BYTES);
			*size += SPACE_MARK_BYTES;
		} else {
			out[(*size)++] = s.data[i];
		}
	}
}

static bool is_utf8(const char *s, int n)
{
	for (int i = 0; i < n;) {
		int step = s[i] ? text_utf8_length(s + i) : 1;
		if (!step)
			return false;
		i += step;
	}
	return true;
}

/* Piece i's text to `out`, which has room for three times its bytes and one. Returns the next one's place. */
static int read_text(struct reading *r, int i, const short byte_of[LETTERS], char **out)
{
	struct piece *p = &r->v->pieces[i];
	struct gguf_string s = r->strings[i];
	bool letters = r->v->kind == VOCABULARY_BYTES;
	if (!s.size)
		return bad_piece(r, i, "is empty");
	if (s.size > PIECE_BYTES_MAX)
		return bad_piece(r, i, "is longer than any piece of a model");
	p->text = *out;
	if (letters && p->kind == PIECE_NORMAL && bytes_of(byte_of, s.data, s.size, *out, &p->size)) {
		*out += p->size;
	} else if (letters) {
		/* What is not written in the letters is no piece of text. */
		if (p->kind == PIECE_NORMAL)
			p->kind = PIECE_UNUSED;
		memcpy(*out, s.data, s.size);
		p->size = (int)s.size;
		*out += s.size;
	} else {
		mark_spaces(s, *out, &p->size);
		*out += p->size;
	}
	*(*out)++ = '\0';
	if (p->size > PIECE_BYTES_MAX)
		return bad_piece(r, i, "is longer than any piece of a model");
	return (letters && p->kind == PIECE_NORMAL) || is_utf8(p->text, p->size) ? 0 : bad_piece(r, i, "is no UTF-8");
}

static int read_pieces(struct reading *r)
{
	struct vocabulary *v = r->v;
	uint64_t n = 0, n_items;
	size_t bytes = 0;
	int rc = read_strings(r, TOKENS, &n);
	if (!rc)
		rc = check_array(r, TYPES, n, &n_items);
	if (!rc && v->kind == VOCABULARY_SCORES)
		rc = check_array(r, SCORES, n, &n_items);
	if (rc)
		return rc;
	for (uint64_t i = 0; i < n; i++)
		bytes += 3 * r->strings[i].size + 1;
	v->n = (int)n;
	v->pieces = calloc(n, sizeof *v->pieces);
	v->text = malloc(bytes);
	if (!v->pieces || !v->text)
		return no_memory(r);
	short byte_of[LETTERS];
	memset(byte_of, -1, sizeof byte_of);
	for (int b = 0; b < 256; b++)
		byte_of[letter_of(b)] = (short)b;
	char *out = v->text;
	for (int i = 0; i < v->n && !rc; i++) {
		int64_t kind;
		double score = 0;
		if ((rc = gguf_get_int_at(r->g, TYPES, (uint64_t)i, &kind, r->err)))
			break;
		if (kind < PIECE_NORMAL || kind > PIECE_BYTE)
			return bad(r, ERROR_INPUT, TYPES "[%d] is %" PRId64 ", expected 1 to 6; " CONVERT, i, kind);
		if (v->kind == VOCABULARY_SCORES && (rc = gguf_get_float_at(r->g, SCORES, (uint64_t)i, &score, r->err)))
			break;
		if (!isfinite((float)score))
			return bad(r, ERROR_INPUT, SCORES "[%d] is no finite number; " CONVERT, i);
		v->pieces[i].kind = (enum piece_kind)kind;
		v->pieces[i].score = (float)score;
		rc = read_text(r, i, byte_of, &out);
	}
	return rc;
}

/* At most half full. */
static size_t table_mask(uint64_t n)
{
	size_t size = 16;
	while (size < 2 * n)
		size *= 2;
	return size - 1;
}

static int index_pieces(struct reading *r)
{
	struct vocabulary *v = r->v;
	v->mask = table_mask((uint64_t)v->n);
	v->table = malloc((v->mask + 1) * sizeof *v->table);
	if (!v->table)
		return no_memory(r);
	memset(v->table, -1, (v->mask + 1) * sizeof *v->table);
	for (int i = 0; i < v->n; i++) {
		const struct piece *p = &v->pieces[i];
		if (p->kind != PIECE_NORMAL)
			continue;
		size_t at = vocabulary_slot(v, p->text, (size_t)p->size);
		/* Published files of gemma4 have three pieces twice, and the reference takes the later one. */
		if (v->table[at] >= 0 && v->kind != VOCABULARY_MERGES)
			return bad(r, ERROR_INPUT, TOKENS "[%d] and [%d] are both '%s'; " CONVERT, v->table[at], i,
				   text_show(r->strings[i].data, r->strings[i].size).text);
		v->table[at] = i;
		for (int k = 1; k + SPACE_MARK_BYTES <= p->size; k++)
			if (!memcmp(p->text + k, SPACE_MARK, SPACE_MARK_BYTES))
				v->joined[(unsigned char)p->text[k - 1]] = true;
	}
	return 0;
}

static int hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
				      : -1;
}

/* All 256 are there: whatever bytes a text has, it can be said. */
static int index_bytes(struct reading *r)
{
	struct vocabulary *v = r->v;
	memset(v->byte_ids, -1, sizeof v->byte_ids);
	for (int i = 0; i < v->n; i++) {
		const struct piece *p = &v->pieces[i];
		int byte = -1;
		if (p->kind == PIECE_BYTE) {
			if (p->size == 6 && !memcmp(p->text, "<0x", 3) && hex(p->text[3]) >= 0 &&
			    hex(p->text[4]) >= 0 && p->text[5] == '>')
				byte = hex(p->text[3]) * 16 + hex(p->text[4]);
			if (byte < 0 || v->kind == VOCABULARY_BYTES)
				return bad_piece(r, i, "is a byte's piece by its type, but not by its text");
		} else if (v->kind == VOCABULARY_BYTES && p->kind == PIECE_NORMAL && p->size == 1) {
			byte = (unsigned char)*p->text;
		}
		if (byte >= 0 && v->byte_ids[byte] >= 0)
			return bad(r, ERROR_INPUT, TOKENS "[%d] and [%d] are both the byte 0x%02X; " CONVERT,
				   v->byte_ids[byte], i, byte);
		if (byte >= 0)
			v->byte_ids[byte] = i;
	}
	for (int b = 0; b < 256; b++)
		if (v->byte_ids[b] < 0)
			return bad(r, ERROR_INPUT, TOKENS " has no piece for the byte 0x%02X; " CONVERT, b);
	if (v->kind != VOCABULARY_BYTES && vocabulary_find(v, SPACE_MARK, SPACE_MARK_BYTES) < 0)
		return bad(r, ERROR_INPUT, TOKENS " has no piece for a space; " CONVERT);
	return 0;
}

static int by_text(const void *a, const void *b, void *ctx)
{
	const struct vocabulary *v = ctx;
	int i = *(const int *)a, k = *(const int *)b;
	const struct piece *p = &v->pieces[i], *q = &v->pieces[k];
	int order = memcmp(p->text, q->text, (size_t)(p->size < q->size ? p->size : q->size));
	if (!order)
		order = p->size - q->size;
	return order ? order : i - k;
}

static int index_specials(struct reading *r)
{
	struct vocabulary *v = r->v;
	v->specials = malloc((size_t)v->n * sizeof *v->specials);
	if (!v->specials)
		return no_memory(r);
	for (int i = 0; i < v->n; i++) {
		const struct piece *p = &v->pieces[i];
		if (p->kind != PIECE_CONTROL && p->kind != PIECE_USER_DEFINED)
			continue;
		v->specials[v->n_specials++] = i;
		v->special_first[(unsigned char)*p->text] = true;
	}
	qsort_r(v->specials, (size_t)v->n_specials, sizeof *v->specials, by_text, v);
	for (int k = 1; k < v->n_specials; k++) {
		int i = v->specials[k - 1], j = v->specials[k];
		if (v->pieces[i].size == v->pieces[j].size &&
		    !memcmp(v->pieces[i].text, v->pieces[j].text, (size_t)v->pieces[i].size))
			return bad(r, ERROR_INPUT, TOKENS "[%d] and [%d] are both '%s'; " CONVERT, i, j,
				   text_show(r->strings[j].data, r->strings[j].size).text);
	}
	return 0;
}

/* A part of a merge as pieces have it. */
static int part_id(const struct reading *r, const short byte_of[LETTERS], const char *s, size_t n)
{
	char bytes[PIECE_BYTES_MAX];
	int size = (int)n;
	if (!n || n > sizeof bytes)
		return -1;
	if (r->v->kind != VOCABULARY_BYTES)
		return vocabulary_find(r->v, s, n);
	return bytes_of(byte_of, s, n, bytes, &size) ? vocabulary_find(r->v, bytes, (size_t)size) : -1;
}

/* One line of the list: two pieces, a space between them. */
static int read_merge(struct reading *r, const short byte_of[LETTERS], int rank)
{
	struct vocabulary *v = r->v;
	struct gguf_string s = r->strings[rank];
	const char *space = s.size ? memchr(s.data, ' ', s.size) : NULL;
	size_t n = space ? (size_t)(space - s.data) : 0;
	char both[2 * PIECE_BYTES_MAX];
	int id = -1, left = space ? part_id(r, byte_of, s.data, n) : -1;
	int right = left >= 0 ? part_id(r, byte_of, space + 1, s.size - n - 1) : -1;
	if (right >= 0) {
		const struct piece *p = &v->pieces[left], *q = &v->pieces[right];
		memcpy(both, p->text, (size_t)p->size);
		memcpy(both + p->size, q->text, (size_t)q->size);
		id = vocabulary_find(v, both, (size_t)(p->size + q->size));
	}
	if (id < 0)
		return bad(r, ERROR_INPUT, MERGES "[%d] '%s' is not two pieces that make a third; " CONVERT, rank,
			   text_show(s.data, s.size).text);
	/* Of two alike the first one counts. */
	struct merge *m = &v->merges[vocabulary_merge_slot(v, left, right)];
	if (m->rank < 0)
		*m = (struct merge){left, right, rank, id};
	return 0;
}

static int read_merges(struct reading *r)
{
	struct vocabulary *v = r->v;
	uint64_t n = 0;
	int rc = read_strings(r, MERGES, &n);
	if (rc)
		return rc;
	v->merge_mask = table_mask(n);
	v->merges = malloc((v->merge_mask + 1) * sizeof *v->merges);
	if (!v->merges)
		return no_memory(r);
	memset(v->merges, -1, (v->merge_mask + 1) * sizeof *v->merges);
	short byte_of[LETTERS];
	memset(byte_of, -1, sizeof byte_of);
	for (int b = 0; b < 256; b++)
		byte_of[letter_of(b)] = (short)b;
	for (int i = 0; i < (int)n && !rc; i++)
		rc = read_merge(r, byte_of, i);
	return rc;
}

static int read_id(const struct reading *r, const char *key, int *out)
{
	int64_t id;
	*out = -1;
	if (!gguf_find(r->g, key))
		return 0;
	int rc = gguf_get_int(r->g, key, &id, r->err);
	if (rc)
		return rc;
	/* Some converters write "none" as the largest number of 32 bits. */
	if (id == UINT32_MAX || id == -1)
		return 0;
	if (id < 0 || id >= r->v->n)
		return bad(r, ERROR_INPUT, "%s is %" PRId64 ", and the vocabulary has %d pieces; " CONVERT, key, id,
			   r->v->n);
	*out = (int)id;
	return 0;
}

static int read_bool(const struct reading *r, const char *key, bool absent, bool *out)
{
	*out = absent;
	return gguf_find(r->g, key) ? gguf_get_bool(r->g, key, out, r->err) : 0;
}

static int read_settings(struct reading *r)
{
	struct vocabulary *v = r->v;
	bool spm = v->kind == VOCABULARY_SCORES;
	int rc = read_id(r, "tokenizer.ggml.bos_token_id", &v->bos);
	if (!rc)
		rc = read_id(r, "tokenizer.ggml.eos_token_id", &v->eos);
	if (!rc)
		rc = read_id(r, "tokenizer.ggml.eot_token_id", &v->eot);
	if (!rc)
		rc = read_bool(r, "tokenizer.ggml.add_bos_token", v->kind != VOCABULARY_BYTES, &v->add_bos);
	if (!rc)
		rc = read_bool(r, "tokenizer.ggml.add_space_prefix", spm, &v->add_space_prefix);
	/* What its first files have of it is wrong; the reference does not ask them. */
	if (v->kind == VOCABULARY_MERGES)
		v->add_bos = true;
	v->add_space_prefix &= spm;
	if (!rc && v->add_bos && v->bos < 0)
		rc = bad(r, ERROR_INPUT,
			 "text is to begin with a token that tokenizer.ggml.bos_token_id does not name; " CONVERT);
	return rc;
}

int vocabulary_read(struct vocabulary *v, const struct gguf *g, struct error *err)
{
	struct reading r = {.v = v, .g = g, .err = err};
	*v = (struct vocabulary){.bos = -1, .eos = -1, .eot = -1};
	/* Without the system's random numbers the seed is 0, and only hostile files are slower. */
	if (getrandom(&v->seed, sizeof v->seed, GRND_NONBLOCK) < 0)
		v->seed = 0;
	int rc = read_kind(&r);
	if (!rc)
		rc = read_pieces(&r);
	if (!rc)
		rc = index_pieces(&r);
	if (!rc)
		rc = index_bytes(&r);
	if (!rc)
		rc = index_specials(&r);
	if (!rc)
		rc = read_settings(&r);
	if (!rc && v->kind != VOCABULARY_SCORES)
		rc = read_merges(&r);
	free(r.strings);
	return rc;
}
