/*
 * A full-size model on a GPU and the host against each alone: hybrid_check MODEL.gguf N[,N...]. Needs a GPU.
 *
 * The logits of a short prompt and of tokens decoded in every mode, float32 cache and prefill, with the first N layers
 * on the GPU: within 1e-4 of the GPU alone and of the host alone, and bit for bit the same in all modes. Prints a line
 * a placement. Exit code 4 where one is wrong.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/infer/loaded_model.h"
#include "engine/infer/session.h"
#include "tests/support/golden.h"

enum {
	PROMPT = 24,
	N_DECODE = 2, /* a mode: a capture and a replay */
	ROWS = PROMPT + N_DECODE,
	CONTEXT = 64,
};
static const double TOLERANCE = 1e-4;

struct check {
	const char *path;
	int tokens[ROWS];
	size_t vocab;
	float *host; /* (ROWS, vocab) */
	float *gpu;
	float *direct;
	float *got;
};

static struct load_options options(int layers)
{
	struct load_options o;
	load_options_default(&o);
	o.n_gpu_layers = layers;
	o.k_type = o.v_type = TENSOR_F32;
	o.prefill = PREFILL_F32;
	return o;
}

static int run(const struct check *c, struct session *s, float *rows, struct token_timing *t, struct error *err)
{
	int rc = session_rewind(s, 0, err);
	if (!rc)
		rc = session_prefill(s, c->tokens, PROMPT, rows, err);
	for (int i = PROMPT; i < ROWS && !rc; i++) {
		const float *row;
		if ((rc = session_decode(s, c->tokens[i], t, err)) || (rc = session_logits(s, &row, err)))
			break;
		memcpy(rows + (size_t)i * c->vocab, row, c->vocab * sizeof *row);
		if (t->event == GRAPH_EVENT_FALLBACK)
			rc = error_set(err, ERROR_WRONG, "fallback: %s", session_fallback_reason(s));
	}
	return rc;
}

static int one_placement(struct check *c, int layers, struct error *err)
{
	struct load_options o = options(layers);
	struct loaded_model *m;
	struct session *s = NULL;
	struct token_timing t[2];
	int rc = loaded_model_open(&m, c->path, &o, err);
	if (rc)
		return rc;
	rc = session_open_on(&s, m, CONTEXT, err);
	for (int mode = 0; mode < GRAPH_MODE_COUNT && !rc; mode++) {
		session_set_mode(s, (enum graph_mode)mode);
		rc = run(c, s, mode ? c->got : c->direct, &t[mode > 0], err);
		if (!rc && mode && memcmp(c->got, c->direct, ROWS * c->vocab * sizeof *c->got))
			rc = error_set(err, ERROR_WRONG, "%d layers on the GPU, %s: not the bits of direct", layers,
				       graph_mode_name((enum graph_mode)mode));
	}
	if (!rc) {
		double a = worst_row(c->direct, c->gpu, ROWS, c->vocab),
		       b = worst_row(c->direct, c->host, ROWS, c->vocab);
		struct session_stats stats = session_stats(s);
		printf("hybrid_check %3d layers on the GPU, %2d threads: worst row %.2g of the GPU's, %.2g of the "
		       "host's; "
		       "direct %.2f ms, graph-device %.2f ms (GPU %.2f, host %.2f); %zu bytes cross, host reads %.0f "
		       "MB\n",
		       layers, session_threads(s), a, b, t[0].wall_us * 1e-3, t[1].wall_us * 1e-3,
		       t[1].device_us * 1e-3, t[1].host_us * 1e-3, stats.crossing_bytes,
		       (double)stats.host_decode_bytes * 1e-6);
		if (!(a <= TOLERANCE) || !(b <= TOLERANCE))
			rc = error_set(err, ERROR_WRONG, "%d layers on the GPU: more than %g apart", layers, TOLERANCE);
	}
	session_close(s);
	loaded_model_close(m);
	return rc;
}

/* The reference: the whole model on one device. */
static int alone(struct check *c, int layers, float **out, struct error *err)
{
	struct session_options o;
	struct session *s;
	struct token_timing t;
	session_options_default(&o);
	o.load = options(layers);
	o.context = CONTEXT;
	int rc = session_open(&s, c->path, &o, err);
	if (rc)
		return rc;
	c->vocab = (size_t)session_model(s)->n_vocab;
	*out = malloc(ROWS * c->vocab * sizeof **out);
	for (size_t i = 0; i < ROWS; i++)
		c->tokens[i] = (int)((i + 1) * 2654435761u % c->vocab);
	rc = *out ? run(c, s, *out, &t, err) : error_set(err, ERROR_MEMORY, "no memory for logits");
	session_close(s);
	return rc;
}

static int check(struct check *c, const char *list, struct error *err)
{
	int rc, first = 0;
	if ((rc = alone(c, 1 << 16, &c->gpu, err)) || (rc = alone(c, 0, &c->host, err)))
		return rc;
	size_t n = ROWS * c->vocab;
	c->direct = malloc(n * sizeof *c->direct);
	c->got = malloc(n * sizeof *c->got);
	if (!c->direct || !c->got)
		return error_set(err, ERROR_MEMORY, "no memory for logits");
	for (const char *at = list; *at && rc != ERROR_DEVICE;) {
		char *end;
		struct error why = {0};
		int layers = (int)strtol(at, &end, 10);
		if (end == at)
			return error_set(err, ERROR_INPUT, "'%s' is no number of layers", at);
		if ((rc = one_placement(c, layers, &why))) {
			printf("hybrid_check FAILED: %s\n", why.text);
			first = first ? first : rc;
			*err = why;
		}
		at = end + (*end == ',');
	}
	return first;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: hybrid_check MODEL.gguf N[,N...]\n");
		return 2;
	}
	struct check c = {.path = argv[1]};
	struct error err = {0};
	int rc = check(&c, argv[2], &err);
	free(c.host);
	free(c.gpu);
	free(c.direct);
	free(c.got);
	if (rc)
		fprintf(stderr, "hybrid_check: %s\n", err.text);
	return rc == ERROR_WRONG ? 4 : rc ? 2 : 0;
}
