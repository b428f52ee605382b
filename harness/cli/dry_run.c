#include "harness/cli/dry_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/cuda/device_cuda.h"
#include "engine/infer/forward.h"
#include "engine/infer/gemm_ceiling.h"
#include "engine/infer/loaded_model.h"
#include "engine/infer/placement_check.h"
#include "engine/infer/placement_plan.h"
#include "engine/model/model_flops.h"
#include "harness/cli/engine_text.h"
#include "harness/cli/gpu_layers.h"
#include "harness/cli/option_values.h"
#include "harness/sweep/plan.h"

/* Of what a GPU states: E4B in Q8_0 on an H100 decodes at 0.4 to 0.5 and prefills at 0.3 to 0.46 (results/h100-e4b,
 * results/h100-prompts). */
static const double GPU_DECODE_SHARE = 0.5, GPU_PREFILL_SHARE = 0.4;
/* For each measured token the logits are brought to the host, looked through and hashed. */
static const double CHECK_S_PER_BYTE = 1e-9;
/* A file is read to hash it, and once more to load it. */
static const double FILE_BYTES_S = 1e9;

struct rates {
	struct cuda_gpu gpu;
	struct error no_gpu; /* empty: there is one */
	double host_bytes_s;
	int host_threads; /* that it was measured with; -1: not yet */
	size_t gpu_free;  /* bytes; 0: unknown */
	double host_flop_s;
	bool graphs;                    /* cells want graphs that need kernels of their own */
	struct cuda_refusals of_driver; /* alone */
	struct cuda_refusals refused;   /* of the kernels last tried */
	struct cuda_trial tried;        /* n_head_dims 0: none yet */
};

/* What cells of one group have in common. */
struct preview {
	struct model model;
	const struct cell *cell; /* the group's first one */
	int gpu_layers;
	int prefill_weights;
	double host_bytes; /* of weights, for a token */
	double gpu_bytes;
	struct placement_stages stages;
	struct token_ids text;       /* that they are fed; empty: any tokens */
	struct workload_facts facts; /* of it */
	struct error skipped;        /* why none of them runs; empty: they do */
	struct error no_persistent;  /* and those of fusion persistent */
	struct cuda_refusals refused;
};

static double decode_rate(double bytes, double rate)
{
	return bytes > 0 ? bytes / rate : 0;
}

/* Of a key or value of a cache type; NAN of none. */
static double row_bytes(const char *type, int head_dim)
{
	const struct tensor_traits *t = tensor_type_parse(type);
	return t ? (double)tensor_type_cache_row(t->type, head_dim) : NAN;
}

/* K/V bytes that a token at this position reads. */
static double kv_bytes(const struct preview *p, int pos)
{
	const struct cell *c = p->cell;
	int budget = cell_snapkv_budget(c), kept = budget && budget < c->n_depth ? budget + pos - c->n_depth : pos;
	double sum = 0;
	for (int i = 0; i < p->model.n_layer; i++) {
		const struct model_layer *l = &p->model.layers[i];
		int n = l->sliding ? (pos < p->model.window ? pos : p->model.window) : kept;
		sum += (row_bytes(c->type_k, l->head_dim) + row_bytes(c->type_v, l->head_dim)) * l->n_head_kv * n;
	}
	return sum;
}

/* Seconds. NAN where a GPU states nothing. */
static double token_seconds(const struct preview *p, const struct rates *r, int pos)
{
	double gpu = r->gpu.bandwidth > 0 ? GPU_DECODE_SHARE * r->gpu.bandwidth : NAN, kv = kv_bytes(p, pos);
	double on_gpu = kv * p->gpu_layers / p->model.n_layer;
	return decode_rate(p->gpu_bytes + on_gpu, gpu) + decode_rate(p->host_bytes + kv - on_gpu, r->host_bytes_s);
}

static double prefill_seconds(const struct preview *p, const struct rates *r, int pos, int n, int all_rows)
{
	if (!n)
		return 0;
	double flops = model_prefill_flops(&p->model, pos, n, p->cell->n_ubatch, all_rows);
	double share = (double)p->gpu_layers / p->model.n_layer;
	double gpu = r->gpu.bf16_rate > 0 ? GPU_PREFILL_SHARE * r->gpu.bf16_rate : NAN;
	return decode_rate(flops * share, gpu) + decode_rate(flops * (1 - share), r->host_flop_s);
}

/* One pass over a cell; measured: with the checks. */
static double pass_seconds(const struct preview *p, const struct rates *r, const struct runner_options *o,
			   const struct cell *c)
{
	double prompt = prefill_seconds(p, r, c->n_depth, c->n_prompt, cell_computes_all_rows(c));
	if (!c->n_gen)
		return (2 - cell_is_direct(c)) * prompt;
	double token = token_seconds(p, r, c->n_depth + c->n_prompt + c->n_gen / 2);
	/* Queued tokens run once more for their check; a prompt before each time, and before the warm-up. */
	return (2 + cell_runs_twice(c)) * prompt + (o->steady + (1 + cell_runs_twice(c)) * c->n_gen) * token +
	       c->n_gen * CHECK_S_PER_BYTE * 4 * p->model.n_vocab;
}

/* Once for each model and number of threads; measured where a layer or the head runs on the host. */
static void measure_host(struct rates *r, const struct preview *p)
{
	struct load_options o;
	struct loaded_model *m;
	load_options_default(&o);
	o.n_gpu_layers = 0;
	o.n_threads = p->cell->n_threads;
	if (loaded_model_open(&m, p->cell->model, &o, NULL))
		return;
	int threads = loaded_model_threads(m);
	if (threads != r->host_threads) {
		struct workload_source *source;
		struct engine_settings e;
		engine_settings_default(&e);
		if (!engine_source_open(&source, &e, NULL)) {
			r->host_bytes_s = engine_source_bandwidth(source, threads).bytes_s;
			engine_source_close(source);
		}
		r->host_flop_s = gemm_ceiling_measure(m);
		r->host_threads = threads;
	}
	loaded_model_close(m);
}

/* As the runner opens the group. */
static int group_context(const struct cell *cells, const struct plan_group *g, const struct runner_options *o)
{
	int most = 0;
	for (int i = 0; i < g->n; i++) {
		int need = runner_cell_context(o, &cells[g->sequence[i]]);
		most = need > most ? need : most;
	}
	return most;
}

/* Of kernels that the placement's device would load, once for each set of them. Without one that opens, nothing runs.
 */
static void try_kernels(struct preview *p, struct rates *r, const struct load_options *o,
			const struct persistent_shape *shape)
{
	struct cuda_open_options cuda;
	p->refused = r->of_driver;
	if (loaded_model_cuda_options(&p->model, p->gpu_layers, o, &cuda, &p->skipped))
		return;
	const struct cuda_trial t = {.dims = cuda.dims,
				     .graphs = r->graphs && !*p->refused.graphs[DEVICE_GRAPH_PATCHED].text,
				     .n_blocks = *p->no_persistent.text ? 0 : shape->n_blocks,
				     .shared_bytes = shape->shared_bytes};
	if (!t.graphs && !t.n_blocks)
		return;
	bool same = !memcmp(&t.dims, &r->tried.dims, sizeof t.dims) && t.graphs == r->tried.graphs &&
		    t.n_blocks == r->tried.n_blocks && t.shared_bytes == r->tried.shared_bytes;
	if (!same && device_cuda_try(&r->refused, &t, &p->skipped))
		return;
	r->tried = t;
	if (t.graphs)
		memcpy(p->refused.graphs, r->refused.graphs, sizeof p->refused.graphs);
	if (t.n_blocks && *r->refused.persistent.text)
		p->no_persistent = r->refused.persistent;
}

/* Sets gpu_layers and prefill_weights, and skipped where what is asked for cannot be. */
static void place(struct preview *p, struct rates *r, const struct engine_settings *e, int context)
{
	const struct cell *c = p->cell;
	struct load_options o;
	struct placement_plan plan;
	int all = p->model.n_layer, rc = 0;
	load_options_default(&o);
	o.head_on_host = e->head_on_host;
	o.ple_on_host = e->ple_on_host;
	o.prefill = e->prefill;
	o.prefill_weights = e->prefill_weights;
	o.batch = c->n_ubatch;
	o.persistent = e->persistent;
	rc = options_cache_type(c->type_k, &o.k_type, &p->skipped);
	if (!rc)
		rc = options_cache_type(c->type_v, &o.v_type, &p->skipped);
	p->gpu_layers = c->n_gpu_layers < all ? c->n_gpu_layers : all;
	if (*r->no_gpu.text) {
		if (c->n_gpu_layers > 0)
			error_set(&p->skipped, ERROR_UNSUPPORTED, "-ngl %d: %s", c->n_gpu_layers, r->no_gpu.text);
		p->gpu_layers = 0;
		return;
	}
	if (!rc && c->n_gpu_layers == AXIS_LAYERS_AUTO && r->gpu_free)
		rc = placement_plan_most(&plan, &p->model, &o, context, r->gpu_free, &p->skipped);
	else if (!rc && c->n_gpu_layers)
		rc = placement_plan_suited(&plan, &p->model, &o, c->n_gpu_layers < 0 ? all : p->gpu_layers, context,
					   r->gpu_free, &p->skipped);
	else
		return;
	if (rc)
		return;
	p->gpu_layers = plan.n_gpu_layers;
	p->prefill_weights = plan.prefill_weights;
	p->no_persistent = plan.no_persistent;
	if (r->gpu_free && c->n_gpu_layers == AXIS_LAYERS_AUTO &&
	    placement_plan_check_persistent(&plan, r->gpu_free, &p->skipped))
		return;
	if (r->gpu_free && plan.sum.gpu.taken > r->gpu_free)
		error_set(&p->skipped, ERROR_MEMORY, "%d layers take %.2f GiB of the GPU, which has %.2f GiB free",
			  plan.n_gpu_layers, (double)plan.sum.gpu.taken / (1 << 30), (double)r->gpu_free / (1 << 30));
	else if (c->snapkv && p->gpu_layers && p->gpu_layers < all)
		error_set(&p->skipped, ERROR_UNSUPPORTED, "SnapKV needs the whole model on one device");
	else if (p->gpu_layers)
		try_kernels(p, r, &o, &plan.persistent);
}

static int preview_open(struct preview *p, struct rates *r, const struct engine_settings *e, const struct cell *c,
			int context, struct error *err)
{
	*p = (struct preview){.cell = c};
	int rc = model_open(&p->model, c->model, err);
	if (rc)
		return rc;
	place(p, r, e, context);
	if (!*p->skipped.text)
		p->stages = placement_stages(&p->model, p->gpu_layers, e->head_on_host);
	if (e->text && !*p->skipped.text && !engine_text_tokens(e->text, &p->model, &p->text, &p->skipped))
		p->facts = (struct workload_facts){
			.text = p->text.ids, .n_text = (int)p->text.n, .text_name = e->text->path};
	const struct model_range first = {
		.end = p->gpu_layers, .embed = true, .head = p->gpu_layers && !e->head_on_host};
	if (p->gpu_layers)
		p->gpu_bytes = (double)model_range_bytes(&p->model, &first);
	p->host_bytes = (double)model_decode_bytes(&p->model) - p->gpu_bytes;
	if (p->host_bytes > 0 && !*p->skipped.text)
		measure_host(r, p);
	return 0;
}

static void preview_close(struct preview *p)
{
	token_ids_free(&p->text);
	model_close(&p->model);
}

/* Whether the placement's devices have the mode, as session_mode_check. */
static int check_mode(const struct preview *p, enum graph_mode m, struct error *why)
{
	const struct error *no_graph = &p->refused.graphs[graph_mode_kind(m)];
	if (!p->gpu_layers || !*no_graph->text)
		return 0;
	return error_set(why, ERROR_UNSUPPORTED, "%s: %s", graph_mode_name(m), no_graph->text);
}

/* Why the sweep would skip the cell: what says so there says it here, in its order. */
static int check_cell(const struct preview *p, const struct runner_options *o, const struct cell *c, struct error *why)
{
	enum graph_mode mode = (enum graph_mode)graph_mode_parse(c->mode);
	enum graph_mode prefill = (enum graph_mode)graph_mode_parse(cell_word(c, AXIS_PREFILL_MODE));
	const struct error *known = *p->skipped.text                                     ? &p->skipped
				    : !strcmp(c->fusion, fusion_name(FUSION_PERSISTENT)) ? &p->no_persistent
											 : NULL;
	if (known && *known->text)
		return error_set(why, ERROR_UNSUPPORTED, "%s", known->text);
	int rc = runner_check_text(&p->facts, o, c, why);
	if (!rc)
		rc = check_mode(p, mode, why);
	if (!rc)
		rc = placement_check_loop(&p->stages, mode, why);
	if (!rc)
		rc = placement_check_prefill(&p->stages, prefill, why);
	if (!rc)
		rc = check_mode(p, prefill, why);
	if (!rc && c->n_gen && cell_is_queued(c))
		rc = placement_check_queue(&p->stages, why);
	return rc;
}

static void print_seconds(FILE *f, double s)
{
	if (isnan(s))
		fputs("unknown", f);
	else if (s < 90)
		fprintf(f, "%.3g s", s);
	else if (s < 5400)
		fprintf(f, "%.0f min", s / 60);
	else
		fprintf(f, "%.1f h", s / 3600);
}

static void print_heading(FILE *f, const struct preview *p, const struct rates *r, const struct cell *c)
{
	char on[200] = "host";
	if (p->gpu_layers)
		snprintf(on, sizeof on, "%s%s, %d of %d layers, prefill weights %s", r->gpu.name,
			 p->gpu_layers < p->model.n_layer ? "+host" : "", p->gpu_layers, p->model.n_layer,
			 prefill_weights_name(p->prefill_weights).text);
	fprintf(f, "\n%s on %s, KV %s/%s, depth %d%s%s", text_show_path(c->model).text,
		*p->skipped.text ? "no device" : on, c->type_k, c->type_v, c->n_depth, c->snapkv ? ", SnapKV " : "",
		c->snapkv ? c->snapkv : "");
	if (c->n_threads)
		fprintf(f, ", %d threads", c->n_threads);
	if (!cell_is_default(c, AXIS_UBATCH))
		fprintf(f, ", chunks of %d", c->n_ubatch);
	fputc('\n', f);
}

struct total {
	double seconds;
	int runs;
	int skipped;
};

static void print_group(FILE *f, const struct preview *p, const struct rates *r, const struct runner_options *o,
			const struct cell *cells, const struct plan_group *g, struct total *t)
{
	const struct cell *last = NULL; /* that runs */
	double others = prefill_seconds(p, r, 0, cells[g->sequence[0]].n_depth, 0);
	print_heading(f, p, r, &cells[g->sequence[0]]);
	for (int i = 0; i < g->n; i++) {
		const struct cell *c = &cells[g->sequence[i]];
		char label[CELL_LABEL_SIZE];
		struct error why;
		int skipped = check_cell(p, o, c, &why);
		double pass = skipped ? 0 : pass_seconds(p, r, o, c);
		cell_label(c, label);
		fprintf(f, "  %-20s %-12s %-5s%s", label, c->mode, c->fusion, cell_is_queued(c) ? " queued" : "");
		if (skipped) {
			fprintf(f, " skipped: %s\n", why.text);
			t->skipped++;
			continue;
		}
		fprintf(f, " %s%d run%s, ", o->until > 0 ? "up to " : "", o->repetitions,
			o->repetitions == 1 ? "" : "s");
		print_seconds(f, o->repetitions * pass);
		fputc('\n', f);
		t->runs += o->repetitions;
		t->seconds += o->repetitions * (pass + o->delay_s);
		if (!last || !cell_same_unit(last, c))
			others += pass;
		last = c;
	}
	if (!last)
		return;
	fputs("  and before them the depth's prefill and the direct references: ", f);
	print_seconds(f, others);
	fputc('\n', f);
	t->seconds += others;
}

static void print_end(FILE *f, const struct rates *r, const struct total *t, int host, int gpu)
{
	if (!t->runs) {
		fprintf(f, "\n0 runs; %d cell%s skipped: the sweep would measure nothing, and end with exit code 2\n",
			t->skipped, t->skipped == 1 ? "" : "s");
		return;
	}
	fprintf(f, "\n%d run%s, about ", t->runs, t->runs == 1 ? "" : "s");
	print_seconds(f, t->seconds);
	if (t->skipped)
		fprintf(f, "; %d cell%s skipped", t->skipped, t->skipped == 1 ? "" : "s");
	fputs(".\nEvery second repetition runs the cells above backwards. The estimate takes tokens by the bytes that "
	      "they\n"
	      "read, and prefill by its FLOPs,\n",
	      f);
	if (gpu)
		fprintf(f, "on the GPU at %.0f %% of the %.0f GB/s and %.3g %% of the %.0f TFLOP/s that it states,\n",
			100 * GPU_DECODE_SHARE, r->gpu.bandwidth / 1e9, 100 * GPU_PREFILL_SHARE,
			r->gpu.bf16_rate / 1e12);
	if (host)
		fprintf(f, "on the host at %.1f GB/s and %.3g TFLOP/s as just measured,\n", r->host_bytes_s / 1e9,
			r->host_flop_s / 1e12);
	fprintf(f,
		"%.0f ms for each MB of logits that is checked, models read at %.0f GB/s to hash and to load them.\n"
		"Launches, captures, and warm-ups that do not settle at once are not in it.\n",
		CHECK_S_PER_BYTE * 1e9, FILE_BYTES_S / 1e9);
	if (gpu)
		fputs("What only a loaded model shows (memory that others take, a capture that fails) can skip more.\n",
		      f);
}

/* Whether graphs of the mode do. */
static bool needs_kernels(const char *mode)
{
	return graph_mode_kind((enum graph_mode)graph_mode_parse(mode)) != DEVICE_GRAPH_PLAIN;
}

int dry_run_print(const struct cell *cells, int n, const struct runner_options *o, const struct engine_settings *e,
		  FILE *f, int *n_runs, struct error *err)
{
	struct rates r = {.host_threads = -1};
	struct preview p;
	const struct cell *last = NULL;
	int layers = 0;
	struct plan plan;
	struct total t = {0};
	int rc = plan_build(cells, n, o->seed, &plan, err), host = 0, gpu = 0;
	if (device_cuda_gpu(&r.gpu, &r.no_gpu))
		r.gpu = (struct cuda_gpu){0};
	else
		*r.no_gpu.text = '\0';
	for (int k = 0; k < DEVICE_GRAPH_KINDS && !*r.no_gpu.text; k++)
		if (!device_cuda_can_graph((enum device_graph_kind)k, &r.of_driver.graphs[k]))
			*r.of_driver.graphs[k].text = '\0';
	for (int i = 0; i < n; i++)
		r.graphs |= needs_kernels(cells[i].mode) || needs_kernels(cell_word(&cells[i], AXIS_PREFILL_MODE));
	r.gpu_free = e->device_memory;
	if (!*r.no_gpu.text && !r.gpu_free && device_cuda_free_memory(&r.gpu_free, NULL))
		r.gpu_free = 0;
	if (!rc)
		fprintf(f, "dry run of %d cell%s: nothing is measured or written\n", n, n == 1 ? "" : "s");
	for (int i = 0; i < plan.n_groups && !rc; i++) {
		const struct plan_group *g = &plan.groups[i];
		const struct cell *first = &cells[g->sequence[0]];
		if ((rc = preview_open(&p, &r, e, first, group_context(cells, g, o), err)))
			break;
		int runs = !*p.skipped.text;
		if (runs && !(last && cell_same_placement(last, first) && layers == p.gpu_layers))
			t.seconds += 2 * (double)p.model.file.map_bytes / FILE_BYTES_S;
		last = first;
		layers = p.gpu_layers;
		host |= runs && p.host_bytes > 0;
		gpu |= runs && p.gpu_layers > 0;
		print_group(f, &p, &r, o, cells, g, &t);
		preview_close(&p);
	}
	plan_free(&plan);
	if (!rc)
		print_end(f, &r, &t, host, gpu);
	*n_runs = t.runs;
	return rc;
}
