#include "harness/measure/context_file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/text.h"

enum { LABEL_MAX = 1 << 16 };

static const char mark[8] = "GMKVCTX\n";

/* Of this machine's byte order: on one of another, the version is none. */
struct head {
	char mark[8];
	uint32_t version;
	uint32_t label_bytes;
	uint64_t contents_bytes;
	uint64_t contents_hash;
	uint64_t head_hash; /* of all this, 0 in its own place, and of the label */
};
static_assert(sizeof(struct head) == 40, "as it is in the file");

static uint64_t hash_head(const struct head *h, const char *label)
{
	struct head plain = *h;
	plain.head_hash = 0;
	return hash_bytes(label, h->label_bytes, hash_bytes(&plain, sizeof plain, 0));
}

/* The caller frees it; null without memory. */
static char *label_text(const struct context_label *l)
{
	char hash[17];
	snprintf(hash, sizeof hash, "%016" PRIx64, l->tokens_hash);
	json_t *value = json_pack("{s:O, s:i, s:s, s:i}", "identity", l->identity, "tokens", l->tokens, "tokens_hash",
				  hash, "observed", l->observed);
	char *text = value ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	json_decref(value);
	return text;
}

uint64_t context_file_bytes(const struct context_label *l, size_t bytes)
{
	char *text = label_text(l);
	uint64_t sum = text ? sizeof(struct head) + strlen(text) + bytes : 0;
	free(text);
	return sum;
}

int context_file_write(FILE *f, const struct context_label *l, const void *contents, size_t bytes, struct error *err)
{
	char *text = label_text(l);
	if (!text)
		return error_set(err, ERROR_MEMORY, "no memory for its label");
	struct head h = {.version = CONTEXT_FILE_VERSION,
			 .label_bytes = (uint32_t)strlen(text),
			 .contents_bytes = bytes,
			 .contents_hash = hash_bytes(contents, bytes, 0)};
	memcpy(h.mark, mark, sizeof mark);
	h.head_hash = hash_head(&h, text);
	errno = 0;
	int bad = fwrite(&h, sizeof h, 1, f) != 1 || fwrite(text, h.label_bytes, 1, f) != 1 ||
		  fwrite(contents, bytes, 1, f) != 1;
	free(text);
	return bad ? error_set(err, ERROR_IO, "%s", errno ? strerror(errno) : "a write failed") : 0;
}

/* All of them, or an error: a file that shrinks is cut, too. */
static int read_all(int fd, void *out, size_t bytes, struct error *err)
{
	char *at = out;
	while (bytes) {
		ssize_t n = read(fd, at, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, ERROR_IO, "%s", strerror(errno));
		if (!n)
			return error_set(err, ERROR_INPUT, "it was cut while it was read");
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int check_head(const struct head *h, uint64_t length, struct error *err)
{
	if (memcmp(h->mark, mark, sizeof mark))
		return error_set(err, ERROR_INPUT, "it is no snapshot of a context");
	if (h->version != CONTEXT_FILE_VERSION)
		return error_set(err, ERROR_INPUT, "its format is %" PRIu32 ", this build's is %d", h->version,
				 CONTEXT_FILE_VERSION);
	uint64_t rest = length - sizeof *h;
	if (!h->label_bytes || h->label_bytes > LABEL_MAX || h->label_bytes > rest ||
	    h->contents_bytes != rest - h->label_bytes || !h->contents_bytes)
		return error_set(err, ERROR_INPUT,
				 "it has %" PRIu64 " bytes, and says %" PRIu32 " of a label and %" PRIu64
				 " of contents",
				 length, h->label_bytes, h->contents_bytes);
	return 0;
}

static struct text_shown shown(const char *text)
{
	return text_show(text ? text : "", text ? strlen(text) : 0);
}

/* found: the file's label. */
static int compare(const struct context_label *l, const json_t *found, struct error *err)
{
	const json_t *identity = json_object_get(found, "identity"), *value;
	const char *name;
	/* jansson's loop wants an object that could be changed. */
	json_object_foreach((json_t *)(uintptr_t)l->identity, name, value)
	{
		const json_t *other = json_object_get(identity, name);
		if (!json_equal(value, other))
			return error_set(err, ERROR_INPUT, "it is of another %s: '%s', not '%s'", name,
					 shown(json_string_value(other)).text, shown(json_string_value(value)).text);
	}
	if (json_object_size(identity) != json_object_size(l->identity))
		return error_set(err, ERROR_INPUT, "it is of something that this build does not know");
	json_int_t tokens = json_integer_value(json_object_get(found, "tokens"));
	json_int_t observed = json_integer_value(json_object_get(found, "observed"));
	if (tokens != l->tokens)
		return error_set(err, ERROR_INPUT, "it is of %" JSON_INTEGER_FORMAT " tokens, not %d", tokens,
				 l->tokens);
	char hash[17];
	snprintf(hash, sizeof hash, "%016" PRIx64, l->tokens_hash);
	const char *other = json_string_value(json_object_get(found, "tokens_hash"));
	if (!other || strcmp(other, hash))
		return error_set(err, ERROR_INPUT, "it is of other tokens: '%s', not '%s'", shown(other).text, hash);
	if (observed != l->observed)
		return error_set(err, ERROR_INPUT, "SnapKV observed %" JSON_INTEGER_FORMAT " of its tokens, not %d",
				 observed, l->observed);
	return 0;
}

static int check_label(const struct head *h, const char *text, const struct context_label *l, struct error *err)
{
	json_error_t why;
	if (hash_head(h, text) != h->head_hash)
		return error_set(err, ERROR_INPUT, "its head was altered");
	json_t *found = json_loadb(text, h->label_bytes, JSON_REJECT_DUPLICATES, &why);
	if (!found)
		return error_set(err, ERROR_INPUT, "its label is no JSON: %s", why.text);
	int rc = compare(l, found, err);
	json_decref(found);
	return rc;
}

int context_file_read(int fd, const struct context_label *l, void **contents, size_t *bytes, struct error *err)
{
	struct head h;
	struct stat s;
	*contents = NULL;
	*bytes = 0;
	if (fstat(fd, &s))
		return error_set(err, ERROR_IO, "%s", strerror(errno));
	if (s.st_size < (off_t)sizeof h)
		return error_set(err, ERROR_INPUT, "it has %lld bytes: it was cut", (long long)s.st_size);
	int rc;
	if ((rc = read_all(fd, &h, sizeof h, err)) || (rc = check_head(&h, (uint64_t)s.st_size, err)))
		return rc;
	char *text = malloc(h.label_bytes);
	if (!text)
		return error_set(err, ERROR_MEMORY, "no memory for its label");
	if (!(rc = read_all(fd, text, h.label_bytes, err)))
		rc = check_label(&h, text, l, err);
	free(text);
	if (rc)
		return rc;
	if (h.contents_bytes > SIZE_MAX || !(*contents = malloc((size_t)h.contents_bytes)))
		return error_set(err, ERROR_MEMORY, "no memory for its %" PRIu64 " bytes", h.contents_bytes);
	rc = read_all(fd, *contents, (size_t)h.contents_bytes, err);
	if (!rc && hash_bytes(*contents, (size_t)h.contents_bytes, 0) != h.contents_hash)
		rc = error_set(err, ERROR_INPUT, "its contents were altered");
	if (rc) {
		free(*contents);
		*contents = NULL;
		return rc;
	}
	*bytes = (size_t)h.contents_bytes;
	return 0;
}
