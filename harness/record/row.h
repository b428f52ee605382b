/*
 * One row of runs.csv: one repetition of one cell. results/SCHEMA.md says what each
 * column means; the column table here is the only list of them in code, so that
 * every output format writes the same ones.
 */
#ifndef GEMMARK_HARNESS_RECORD_ROW_H
#define GEMMARK_HARNESS_RECORD_ROW_H

#include <stdint.h>

#include "harness/record/column.h"
#include "harness/sweep/axis.h"

enum { SCHEMA_VERSION = 1 };

enum run_status { RUN_STATUS_OK, RUN_STATUS_SKIPPED, RUN_STATUS_FAILED, RUN_STATUS_WRONG, RUN_STATUS_INTERRUPTED };

/* Where the tokens before the test came from: computed in this process and for this group, or kept ones. */
enum context_source { CONTEXT_SOURCE_PREFILL, CONTEXT_SOURCE_MEMORY, CONTEXT_SOURCE_DISK };

/* "ok", "skipped", "failed", "wrong", "interrupted"; "" where unknown */
const char *run_status_name(enum run_status s);

/* What an integer column holds where the value cannot be known; a real one holds NAN, a string null. */
#define ROW_UNKNOWN COLUMN_UNKNOWN

#define ROW_TYPE_INT int64_t
#define ROW_TYPE_WORD const char *
#define ROW_MEMBER(ID, kind, name, column, ...) ROW_TYPE_##kind column;
struct run_row {
	int64_t schema_version;
	const char *run_id;
	enum run_status status; /* one that is none of them: unknown */
	const char *reason;
	int64_t order; /* of execution, from 0 */
	int64_t repetition;
	const char *model;
	const char *arch;
	const char *weight_type;
	int64_t model_bytes; /* of all tensors, as the file stores them */
	int64_t model_parameters;
	const char *test;
	/* The axes: columns of harness/sweep/axis.h. Layers and threads as they were resolved. */
	AXIS_LIST(ROW_MEMBER)
	const char *model_hash; /* of the content, 16 hexadecimal digits: the model's identity */
	const char *device;
	const char *commit;
	double tokens_per_s;
	double prefill_us;
	double prefill_tokens_per_s;
	double itl_median_us;
	double itl_mad_us;
	double itl_p50_us;
	double itl_p90_us;
	double itl_p99_us;
	double itl_max_us;
	double submit_median_us;
	double submit_mad_us;
	double submit_p50_us;
	double submit_p90_us;
	double submit_max_us;
	double gpu_median_us;
	double wall_median_us;
	double capture_us;
	double instantiate_us;
	double upload_us;
	int64_t captures;
	int64_t fallbacks;
	int64_t graph_nodes;
	int64_t kernel_nodes;
	int64_t positional_nodes;
	double api_launches_per_token;
	double node_updates_per_token;
	double kernels_per_token;
	double copies_per_token;
	int64_t weight_bytes_per_token;
	double kv_bytes_per_token;
	double achieved_gb_s;
	double bandwidth_gb_s;
	double bandwidth_share;
	double prefill_flops; /* of the measured prefill */
	double prefill_tflop_s;
	double gemm_tflop_s;
	double gemm_share;
	int64_t memory_peak_bytes;
	int64_t kv_bytes;
	const char *logits_hash;
	double break_even_tokens;
	int64_t warmup_tokens;
	int64_t seed;
	const char *started_utc;
	int64_t n_gpu_layers_asked;
	int64_t n_threads_asked;
	int64_t n_context; /* positions that the cache was opened for */
	const char *head_device;
	int64_t host_weight_bytes_per_token;
	int64_t gpu_weight_bytes_per_token;
	int64_t crossing_bytes_per_token;
	int64_t snapkv_budget;
	int64_t evicted_entries;
	double evict_us;
	int64_t memory_before_evict_bytes;
	int64_t memory_after_evict_bytes;
	int64_t memory_bytes;
	double kl_divergence;
	double kl_divergence_max;
	double top1_agreement;
	int64_t quality_tokens;
	double host_median_us;
	double sm_clock_mhz;
	double memory_clock_mhz;
	double power_w;
	double energy_per_token_j;
	double temperature_c;
	double gpu_utilization;
	const char *throttle_reasons;
	double cpu_mhz;
	double load_average;
	int64_t context_switches;
	int64_t involuntary_switches;
	int64_t minor_faults;
	int64_t major_faults;
	int64_t telemetry_samples;
	int64_t attempt;   /* at this repetition: the latest one counts */
	int64_t clock_low; /* 1: its SM clock was below its peers' */
	const char *until; /* what decided the number of repetitions */
	double submit_p99_us;
	int64_t copy_nodes;
	const char *launch_hash; /* of what each measured token launched */
	int64_t launches_differ; /* 1: from the cell's first run */
	int64_t beyond_context;  /* 1: positions that the model was not trained for */
	const char *prefill_weights;
	int context_source;               /* enum context_source; of the tokens at the depth */
	int64_t context_prefilled_tokens; /* of them: computed for the row's group */
	double ttft_us;                   /* of the measured prompt: until the host has its last row's logits */
	double api_launches_per_prompt;   /* the measured prompt's, as the columns of a token */
	double node_updates_per_prompt;
	double kernels_per_prompt;
	double copies_per_prompt;
	const char *text_hash; /* of the text that the tokens are of; null: the seeded stream */
	const char *machine;   /* what the host is called */
	const char *gpu;       /* its UUID; null: the run used none, or it is unknown */
	const char *file_type; /* of the model, as its file says: "Q4_K_M" */

	/* Not a column: the index of the row's cell. */
	int cell;
};
#undef ROW_MEMBER

extern const struct column row_columns[];
extern const int row_n_columns;

/*
 * What runs of a cell are compared by, in us: the median latency of a generation's tokens; the time of a prompt; of a
 * prompt and a generation in one test, that of both together. NAN: unknown.
 */
double row_time_us(const struct run_row *r);

/* Everything unknown but the version. */
void row_init(struct run_row *r);

/*
 * The columns of the axes, n_gpu_layers_asked and n_threads_asked; what stands for "all that the machine can" or "its
 * choice" is unknown until a workload says what became of it. Strings are the cell's.
 */
void row_set_axes(struct run_row *r, const struct cell *c);
/*
 * The cell that a row is of; strings are the row's. What older files leave unknown is absent; the layers are
 * AXIS_LAYERS_AUTO where that was asked for. model is the file's name without its folder.
 */
void row_cell(const struct run_row *r, struct cell *out);

#endif
