#include "harness/cli/gpu_layers.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/device/device_host.h"
#include "harness/cli/options.h"

int gpu_layers_parse(const char *value, int *out, struct error *err)
{
	if (!strcmp(value, "auto")) {
		*out = AXIS_LAYERS_AUTO;
		return 0;
	}
	return options_int(value, "-ngl (or auto)", -1, AXIS_LAYERS_MAX, out, err);
}

int gpu_layers_bytes(const char *value, size_t *out, struct error *err)
{
	static const char units[] = "KMGT";
	char *end;
	errno = 0;
	unsigned long long n = strtoull(value, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;
	int shift = unit ? 10 * (int)(unit - units + 1) : 0;
	if (end == value || *value == '-' || errno || (*end && (!unit || end[1])) || n == 0 || n > SIZE_MAX >> shift)
		return error_set(err, ERROR_INPUT, "'%s' is no number of bytes; write 8G, 512M or 8589934592", value);
	*out = (size_t)n << shift;
	return 0;
}

/* ---- the table ---- */

enum { LABEL = 36 };

static double mib(size_t bytes)
{
	return (double)bytes / (1 << 20);
}

static bool is_empty(const struct placement_bytes *b)
{
	return !b->gpu.bytes && !b->host.bytes && !b->pinned && !b->in_place;
}

static void print_cell(FILE *out, size_t bytes)
{
	if (bytes)
		fprintf(out, " %9.1f", mib(bytes));
	else
		fprintf(out, " %9s", "-");
}

static void print_row(FILE *out, const char *what, const struct placement_bytes *b)
{
	if (is_empty(b))
		return;
	fprintf(out, "  %-*s", LABEL, what);
	print_cell(out, b->gpu.bytes);
	print_cell(out, b->pinned);
	print_cell(out, b->host.bytes);
	print_cell(out, b->in_place);
	fputc('\n', out);
}

static void print_gpu(FILE *out, const char *what, size_t bytes)
{
	fprintf(out, "  %-*s %9.1f\n", LABEL, what, mib(bytes));
}

/* What the numbers of layers come to. */
static void print_verdict(const struct placement_plan *p, size_t gpu_bytes, FILE *out)
{
	size_t need = placement_plan_gpu_need(p);
	if (need > gpu_bytes)
		fprintf(out, "  %d of %d layers do not fit: %.1f MiB are missing\n", p->n_gpu_layers, p->n_layer,
			mib(need - gpu_bytes));
	else
		fprintf(out, "  %d of %d layers on the GPU, head on the %s\n", p->n_gpu_layers, p->n_layer,
			p->n_gpu_layers && !p->head_on_host ? "GPU" : "host");
	if (*p->no_persistent.text)
		fprintf(out, "  left out: %s\n", p->no_persistent.text);
	const struct persistent_shape *s = &p->persistent;
	if (s->n_blocks)
		fprintf(out,
			"  fusion persistent: %d blocks of %d computing warps and %d stages of %d\n"
			"  bytes, of which %d to %d KiB are on their way\n",
			s->n_blocks, s->n_warps, s->n_stages, s->stage_bytes, s->limits.small_bytes >> 10,
			s->limits.wide_bytes >> 10);
}

void gpu_layers_print(const struct placement_plan *p, const struct model *m, size_t gpu_bytes, FILE *out)
{
	char layers[64], kv[64], mirrored[64], prompts[64];
	snprintf(layers, sizeof layers, "layers: GPU %d, host %d", p->n_gpu_layers, p->n_layer - p->n_gpu_layers);
	snprintf(kv, sizeof kv, "K/V caches: GPU %d, host %d", p->n_kv_gpu, p->n_kv_host);
	snprintf(mirrored, sizeof mirrored, "K/V caches that both read: %d", p->n_kv_mirrored);
	snprintf(prompts, sizeof prompts, "weights for prompts, f16: %d layer%s", p->n_prompt_layers,
		 p->n_prompt_layers == 1 ? "" : "s");
	const char *const names[PLACEMENT_ITEM_COUNT] = {
		[PLACEMENT_LAYERS] = layers,
		[PLACEMENT_EMBEDDING] = "embedding table",
		[PLACEMENT_PLE_TABLE] = "PLE table",
		[PLACEMENT_PLE_PROJECTION] = "PLE projection",
		[PLACEMENT_HEAD] =
			is_empty(&p->items[PLACEMENT_EMBEDDING]) ? "output head, and embedding table" : "output head",
		[PLACEMENT_PROMPT_WEIGHTS] = prompts,
		[PLACEMENT_TILED] = "weights in tiles: fusion persistent",
		[PLACEMENT_KV] = kv,
		[PLACEMENT_KV_MIRRORED] = mirrored,
		[PLACEMENT_KV_CHECKPOINT] = "checkpoint of sliding K/V",
		[PLACEMENT_ACTIVATIONS] = "activations",
		[PLACEMENT_PROMPTS] = "scratch of a prompt's products",
		[PLACEMENT_CROSSING] = "rows that cross",
	};
	fprintf(out, "%s\n  context of %d positions, chunks of %d, K %s, V %s\n", text_show_path(m->file.path).text,
		p->context, p->batch, tensor_type_name(p->k_type), tensor_type_name(p->v_type));
	fprintf(out, "  %-*s %9s %9s %9s %9s\n", LABEL, "MiB", "GPU", "pinned", "host", "in file");
	for (int i = 0; i < PLACEMENT_ITEM_COUNT; i++)
		print_row(out, names[i], &p->items[i]);
	print_row(out, "all", &p->sum);
	if (p->n_gpu_layers) {
		print_gpu(out, "+ rounded up to pages by the driver", p->sum.gpu.taken - p->sum.gpu.bytes);
		print_gpu(out, "+ reserve: kernels, graphs, libraries", PLACEMENT_RESERVE_BYTES);
		print_gpu(out, "= needed", placement_plan_gpu_need(p));
	}
	print_gpu(out, "free", gpu_bytes);
	print_verdict(p, gpu_bytes, out);
}

/* What stands between a plan and one layer more, and what would make room for some. */
static int print_more(const struct placement_plan *p, const struct model *m, const struct load_options *o,
		      size_t gpu_bytes, FILE *out, struct error *err)
{
	struct placement_plan more;
	struct load_options ple = *o;
	ple.persistent = PERSISTENT_SESSIONS_NONE; /* which have no part in a plan of some layers */
	int rc = placement_plan(&more, m, &ple, p->n_gpu_layers + 1, p->context, err);
	if (rc)
		return rc;
	fprintf(out, "  %d would need %.1f MiB more than are free\n", more.n_gpu_layers,
		mib(placement_plan_gpu_need(&more) - gpu_bytes));
	ple.ple_on_host = true;
	if (o->ple_on_host || !m->n_ple || (rc = placement_plan_most(&more, m, &ple, p->context, gpu_bytes, err)))
		return rc;
	if (more.n_gpu_layers > p->n_gpu_layers)
		fprintf(out, "  with --ple host %d would fit\n", more.n_gpu_layers);
	return 0;
}

int gpu_layers_choose(const struct model *m, const struct load_options *o, int context, size_t gpu_bytes, FILE *out,
		      struct placement_plan *p, struct error *err)
{
	int rc = placement_plan_most(p, m, o, context, gpu_bytes, err);
	if (rc)
		return rc;
	gpu_layers_print(p, m, gpu_bytes, out);
	if (p->n_gpu_layers < p->n_layer && (rc = print_more(p, m, o, gpu_bytes, out, err)))
		return rc;
	if ((rc = placement_plan_check_persistent(p, gpu_bytes, err)))
		return rc;
	return placement_plan_check_host(p, device_host_available(), err);
}
