#include "harness/cli/logits_sink.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "harness/cli/changed_file.h"

int logits_sink_open(struct logits_sink *k, const char *path, bool force, struct error *err)
{
	*k = (struct logits_sink){.path = path, .out.fd = -1, .hash = hash_stream_new()};
	if (!k->hash)
		return error_set(err, ERROR_MEMORY, "no memory for a hash");
	if (!path)
		return 0;
	int rc = output_file_open(&k->out, path, force, err);
	if (!rc)
		rc = output_file_stream(&k->out, &k->stream, err);
	return rc ? error_prefix(err, rc, "-o") : 0;
}

static int write_failed(const struct logits_sink *k, struct error *err)
{
	int why = errno;
	return error_set(err, ERROR_IO, "-o: %s: %s; %s", text_show_path(k->path).text, strerror(why),
			 output_file_remedy(why));
}

int logits_sink_close(struct logits_sink *k, int rc, struct error *err)
{
	hash_stream_free(k->hash);
	if (k->stream && fclose(k->stream) && !rc)
		rc = write_failed(k, err);
	if (!rc && k->out.fd >= 0 && (rc = output_file_commit(&k->out, err)))
		error_prefix(err, rc, "-o");
	output_file_discard(&k->out);
	return rc;
}

uint64_t logits_sink_hash(const struct logits_sink *k)
{
	return hash_stream_value(k->hash);
}

double logits_sink_perplexity(const struct logits_sink *k)
{
	return exp(k->log_loss / (k->row - 1 - k->first));
}

static double log_softmax(const float *row, int n, int id)
{
	double max = row[0], sum = 0;
	for (int i = 1; i < n; i++)
		if (row[i] > max)
			max = row[i];
	for (int i = 0; i < n; i++)
		sum += exp((double)row[i] - max);
	return (double)row[id] - max - log(sum);
}

int logits_sink_row(struct logits_sink *k, struct session *s, const float *row, struct error *err)
{
	size_t n = (size_t)k->n_vocab;
	if (k->row < k->first)
		k->row = k->first;
	int rc = gguf_check(k->model, changed_file_remedy(), err);
	if (rc || (rc = session_check_logits(s, row, k->row, err)))
		return rc;
	hash_stream_add(k->hash, row, n * sizeof *row);
	if (k->row + 1 < k->n_tokens)
		k->log_loss -= log_softmax(row, k->n_vocab, k->tokens[k->row + 1]);
	k->row++;
	if (k->stream && fwrite(row, sizeof *row, n, k->stream) != n)
		return write_failed(k, err);
	return 0;
}
