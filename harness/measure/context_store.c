#include "harness/measure/context_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "harness/measure/context_directory.h"

enum { HASHED_AT_ONCE = 1024 };

/* In memory, the most recently used first. */
struct kept {
	struct kept *next;
	struct context_name name;
	size_t bytes;
	unsigned char contents[];
};

struct context_store {
	struct context_store_options options;
	struct context_directory directory; /* .d.fd negative: none */
	struct kept *kept;
	uint64_t kept_bytes;
};

static void say(const struct context_store *s, const char *what, const struct error *why)
{
	char line[sizeof why->text + 64];
	snprintf(line, sizeof line, "%s: %s", what, why->text);
	s->options.note(s->options.ctx, line);
}

int context_store_open(struct context_store **out, const struct context_store_options *o, struct error *err)
{
	struct context_store *s = calloc(1, sizeof *s);
	*out = NULL;
	if (!s)
		return error_set(err, ERROR_MEMORY, "no memory to keep contexts");
	s->options = *o;
	s->directory.d.fd = -1;
	int rc = o->directory ? context_directory_open(&s->directory, o->directory, o->limit, err) : 0;
	if (rc) {
		free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void context_store_forget(struct context_store *s)
{
	for (struct kept *next, *k = s->kept; k; k = next) {
		next = k->next;
		free(k);
	}
	s->kept = NULL;
	s->kept_bytes = 0;
}

void context_store_close(struct context_store *s)
{
	if (!s)
		return;
	context_store_forget(s);
	context_directory_close(&s->directory);
	free(s);
}

static uint64_t hash_tokens(const struct token_stream *stream, int n)
{
	uint64_t hash = 0;
	int tokens[HASHED_AT_ONCE];
	for (int at = 0; at < n; at += HASHED_AT_ONCE) {
		int part = n - at < HASHED_AT_ONCE ? n - at : HASHED_AT_ONCE;
		token_fill(stream, at, part, tokens);
		hash = hash_bytes(tokens, (size_t)part * sizeof *tokens, hash);
	}
	return hash;
}

int context_store_whole(struct workload *w, int n)
{
	struct context_facts f;
	if (!w->ops->context)
		return 0;
	w->ops->context->facts(w, &f);
	json_decref(f.identity);
	return f.chunk > 0 ? n - n % f.chunk : 0;
}

/* ---- memory ---- */

static int same_name(const struct context_name *a, const struct context_name *b)
{
	return a->identity == b->identity && a->tokens_hash == b->tokens_hash && a->tokens == b->tokens &&
	       a->observed == b->observed;
}

/* Taken out of the list; null: it is not there. */
static struct kept *unlink_kept(struct context_store *s, const struct context_name *name)
{
	for (struct kept **at = &s->kept; *at; at = &(*at)->next) {
		struct kept *k = *at;
		if (!same_name(&k->name, name))
			continue;
		*at = k->next;
		s->kept_bytes -= k->bytes;
		return k;
	}
	return NULL;
}

static void link_kept(struct context_store *s, struct kept *k)
{
	k->next = s->kept;
	s->kept = k;
	s->kept_bytes += k->bytes;
}

/* The least recently used go until so many bytes fit; whether they do. */
static int make_room(struct context_store *s, size_t bytes)
{
	while (s->kept && s->kept_bytes + bytes > s->options.memory) {
		struct kept **last = &s->kept;
		while ((*last)->next)
			last = &(*last)->next;
		s->kept_bytes -= (*last)->bytes;
		free(*last);
		*last = NULL;
	}
	return s->kept_bytes + bytes <= s->options.memory;
}

/* ---- restoring ---- */

struct candidate {
	struct context_name name;
	enum context_source from;
};

struct candidates {
	struct candidate *of;
	int n;
};

/* What the context is to be, and of which tokens. */
struct wanted {
	struct context_facts facts;
	const struct token_stream *stream;
	int n;
};

/* Whether what is kept there can be gone on from; its tokens are another matter. */
static int serves(const struct wanted *w, const struct context_name *name)
{
	if (name->tokens == w->n)
		return !w->facts.observed || name->observed == w->facts.observed;
	return name->tokens < w->n - w->facts.observed && name->tokens % w->facts.chunk == 0;
}

static int add_candidate(struct candidates *c, const struct context_name *name, enum context_source from,
			 struct error *err)
{
	struct candidate *grown = realloc(c->of, ((size_t)c->n + 1) * sizeof *grown);
	if (!grown)
		return error_set(err, ERROR_MEMORY, "no memory for %d snapshots", c->n + 1);
	c->of = grown;
	c->of[c->n++] = (struct candidate){*name, from};
	return 0;
}

/* The longest first, and memory before the disk. */
static int by_length(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	if (x->name.tokens != y->name.tokens)
		return x->name.tokens > y->name.tokens ? -1 : 1;
	return (int)x->from - (int)y->from;
}

/* All that serve, of the stream's own tokens. */
static int collect(const struct context_store *s, const struct wanted *w, uint64_t identity, struct candidates *out,
		   struct error *err)
{
	struct context_name *names = NULL;
	int n = 0, rc = 0;
	for (const struct kept *k = s->kept; k && !rc; k = k->next)
		if (k->name.identity == identity && serves(w, &k->name))
			rc = add_candidate(out, &k->name, CONTEXT_SOURCE_MEMORY, err);
	if (!rc && s->directory.d.fd >= 0)
		rc = context_directory_list(&s->directory, identity, &names, &n, err);
	for (int i = 0; i < n && !rc; i++)
		if (serves(w, &names[i]))
			rc = add_candidate(out, &names[i], CONTEXT_SOURCE_DISK, err);
	free(names);
	int of = 0;
	for (int i = 0; i < out->n; i++)
		if (hash_tokens(w->stream, out->of[i].name.tokens) == out->of[i].name.tokens_hash)
			out->of[of++] = out->of[i];
	out->n = of;
	if (out->n)
		qsort(out->of, (size_t)out->n, sizeof *out->of, by_length);
	return rc;
}

static int from_memory(struct context_store *s, struct workload *w, const struct context_name *name, struct error *err)
{
	struct kept *k = unlink_kept(s, name);
	link_kept(s, k);
	return w->ops->context->restore(w, k->contents, k->bytes, err);
}

/* *opened: the workload was given it; an error before that is the file's. */
static int from_disk(const struct context_store *s, struct workload *w, const struct wanted *wanted,
		     const struct context_name *name, int *opened, struct error *err)
{
	const struct context_label l = {
		.identity = wanted->facts.identity,
		.tokens = name->tokens,
		.tokens_hash = name->tokens_hash,
		.observed = name->observed,
	};
	char file[CONTEXT_NAME_SIZE];
	void *contents;
	size_t bytes;
	int rc = context_directory_load(&s->directory, name, &l, &contents, &bytes, err);
	*opened = !rc;
	if (rc)
		return rc;
	rc = w->ops->context->restore(w, contents, bytes, err);
	free(contents);
	return rc ? error_prefix(err, rc, "%s/%s", s->directory.d.path, context_name_text(name, file)) : 0;
}

int context_store_restore(struct context_store *s, struct workload *w, const struct token_stream *stream, int n,
			  int *reached, enum context_source *from, struct error *err)
{
	struct wanted wanted = {.stream = stream, .n = n};
	struct candidates found = {0};
	struct context_name name;
	struct error why;
	int rc = 0;
	*reached = 0;
	if (!w->ops->context)
		return 0;
	w->ops->context->facts(w, &wanted.facts);
	const struct context_label label = {.identity = wanted.facts.identity};
	if (wanted.facts.identity && context_name_of(&label, &name) && collect(s, &wanted, name.identity, &found, &why))
		say(s, "kept contexts", &why);
	for (int i = 0; i < found.n && !*reached && !rc; i++) {
		const struct candidate *c = &found.of[i];
		int opened = 1, code = c->from == CONTEXT_SOURCE_MEMORY
					       ? from_memory(s, w, &c->name, &why)
					       : from_disk(s, w, &wanted, &c->name, &opened, &why);
		if (!code) {
			*reached = c->name.tokens;
			*from = c->from;
		} else if (opened && (code == ERROR_DEVICE || code == ERROR_MEMORY)) {
			rc = error_set(err, code, "%s", why.text);
		} else {
			say(s, "snapshot refused, prefilled instead", &why);
		}
	}
	free(found.of);
	json_decref(wanted.facts.identity);
	return rc;
}

/* ---- keeping ---- */

/* The workload's bytes, in memory that can be linked; null, and a line said, where there is none. */
static struct kept *take(struct context_store *s, struct workload *w, int *rc, struct error *err)
{
	size_t bytes = w->ops->context->bytes(w);
	struct kept *k = bytes < SIZE_MAX - sizeof *k ? malloc(sizeof *k + bytes) : NULL;
	struct error why;
	*rc = 0;
	if (!k) {
		error_set(&why, ERROR_MEMORY, "no memory for its %zu bytes", bytes);
		say(s, "context not kept", &why);
		return NULL;
	}
	k->bytes = bytes;
	*rc = w->ops->context->save(w, k->contents, err);
	if (*rc) {
		free(k);
		return NULL;
	}
	return k;
}

int context_store_keep(struct context_store *s, struct workload *w, const struct token_stream *stream, int n,
		       unsigned places, struct error *err)
{
	struct context_facts facts;
	struct context_label label;
	struct context_name name;
	struct error why;
	int rc = 0;
	if (s->directory.d.fd < 0)
		places &= ~(unsigned)CONTEXT_STORE_DISK;
	if (!w->ops->context || !s->options.memory)
		places &= ~(unsigned)CONTEXT_STORE_MEMORY;
	if (!w->ops->context || !places)
		return 0;
	w->ops->context->facts(w, &facts);
	label = (struct context_label){.identity = facts.identity, .tokens = n};
	label.tokens_hash = hash_tokens(stream, n);
	label.observed = w->ops->context->observed(w);
	struct kept *k = NULL;
	if (facts.identity && context_name_of(&label, &name) && (k = take(s, w, &rc, err))) {
		k->name = name;
		if (places & CONTEXT_STORE_DISK &&
		    context_directory_save(&s->directory, &name, &label, k->contents, k->bytes, &why))
			say(s, "context not kept", &why);
		free(unlink_kept(s, &name));
		if (places & CONTEXT_STORE_MEMORY && make_room(s, k->bytes))
			link_kept(s, k);
		else
			free(k);
	}
	json_decref(facts.identity);
	return rc;
}
