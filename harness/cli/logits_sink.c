#include "harness/cli/logits_sink.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "harness/cli/changed_file.h"

static int open_file(struct logits_sink_file *f, bool force, struct error *err)
{
	if (!f->path)
		return 0;
	int rc = output_file_open(&f->out, f->path, force, err);
	if (!rc)
		rc = output_file_stream(&f->out, &f->stream, err);
	return rc ? error_prefix(err, rc, "%s", f->option) : 0;
}

int logits_sink_open(struct logits_sink *k, const char *path, const char *probabilities, bool force, struct error *err)
{
	*k = (struct logits_sink){
		.logits = {"-o", path, {.fd = -1}, NULL},
		.probabilities = {"--logprobs", probabilities, {.fd = -1}, NULL},
		.hash = hash_stream_new(),
	};
	if (!k->hash)
		return error_set(err, ERROR_MEMORY, "no memory for a hash");
	int rc = open_file(&k->logits, force, err);
	if (!rc)
		rc = open_file(&k->probabilities, force, err);
	if (!rc && probabilities)
		fputs("window,position,index,token,logprob\n", k->probabilities.stream);
	return rc;
}

void logits_sink_tokens(struct logits_sink *k, const int *tokens, int n, int first, int window, int start)
{
	k->tokens = tokens;
	k->n_tokens = n;
	k->row = first;
	k->window = window;
	k->start = start;
}

static int write_failed(const struct logits_sink_file *f, struct error *err)
{
	int why = errno;
	return error_set(err, ERROR_IO, "%s: %s: %s; %s", f->option, text_show_path(f->path).text, strerror(why),
			 output_file_remedy(why));
}

static int close_file(struct logits_sink_file *f, int rc, struct error *err)
{
	if (f->stream && fclose(f->stream) && !rc)
		rc = write_failed(f, err);
	if (!rc && f->out.fd >= 0 && (rc = output_file_commit(&f->out, err)))
		error_prefix(err, rc, "%s", f->option);
	output_file_discard(&f->out);
	return rc;
}

int logits_sink_close(struct logits_sink *k, int rc, struct error *err)
{
	hash_stream_free(k->hash);
	rc = close_file(&k->logits, rc, err);
	return close_file(&k->probabilities, rc, err);
}

uint64_t logits_sink_hash(const struct logits_sink *k)
{
	return hash_stream_value(k->hash);
}

double logits_sink_perplexity(const struct logits_sink *k)
{
	return exp(k->loss / k->n_scored);
}

double logits_sink_perplexity_error(const struct logits_sink *k)
{
	double mean = k->loss / k->n_scored, variance = k->squared / k->n_scored - mean * mean;
	if (k->n_scored < 2)
		return NAN;
	return sqrt(fmax(variance, 0) / (k->n_scored - 1)) * exp(mean);
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

/* Of the token behind the row. */
static int score(struct logits_sink *k, const float *row, struct error *err)
{
	int next = k->row + 1;
	double p = log_softmax(row, k->n_vocab, k->tokens[next]);
	k->loss -= p;
	k->squared += p * p;
	k->n_scored++;
	if (k->probabilities.stream && fprintf(k->probabilities.stream, "%d,%d,%d,%d,%.9g\n", k->window, next,
					       k->start + next, k->tokens[next], p) < 0)
		return write_failed(&k->probabilities, err);
	return 0;
}

int logits_sink_row(struct logits_sink *k, struct session *s, const float *row, struct error *err)
{
	size_t n = (size_t)k->n_vocab;
	int rc = gguf_check(k->model, changed_file_remedy(), err);
	if (rc || (rc = session_check_logits(s, row, k->row, err)))
		return rc;
	hash_stream_add(k->hash, row, n * sizeof *row);
	if (k->row + 1 < k->n_tokens && (rc = score(k, row, err)))
		return rc;
	k->row++;
	if (k->logits.stream && fwrite(row, sizeof *row, n, k->logits.stream) != n)
		return write_failed(&k->logits, err);
	return 0;
}
