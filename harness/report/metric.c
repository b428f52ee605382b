#include "harness/report/metric.h"

#include <math.h>

const struct metric metrics[METRIC_COUNT] = {
	[METRIC_TIME] = {"latency", "median time of a token, or the time of a prompt, or of both together", "us", 1,
			 0.1},
	[METRIC_P90] = {"p90", "90th percentile of a token's time", "us", 1, 0.1},
	[METRIC_P99] = {"p99", "99th percentile of a token's time, from 662 tokens a run up", "us", 1, 0.1},
	[METRIC_SUBMIT] = {"submit", "median host time that submits a token", "us", 1, 0.5},
	[METRIC_ONE_OFF] = {"capture", "capture, instantiation and upload of a run's graphs", "us", 1, 20},
	[METRIC_MEMORY] = {"memory", "most device memory in use", "MiB", 1.0 / (1 << 20), 0.01},
	[METRIC_ENERGY] = {"energy", "energy of the GPU for a token", "J", 1, 0},
};

double metric_of(const struct run_row *row, enum metric_id m)
{
	double x = NAN;
	switch (m) {
	case METRIC_TIME:
		x = row_time_us(row);
		break;
	case METRIC_P90:
		x = row->itl_p90_us;
		break;
	case METRIC_P99:
		x = row->itl_p99_us;
		break;
	case METRIC_SUBMIT:
		x = row->submit_median_us;
		break;
	case METRIC_ONE_OFF:
		x = row->capture_us + row->instantiate_us + row->upload_us;
		break;
	case METRIC_MEMORY:
		x = row->memory_peak_bytes == ROW_UNKNOWN ? NAN : (double)row->memory_peak_bytes;
		break;
	case METRIC_ENERGY:
		x = row->energy_per_token_j;
		break;
	case METRIC_COUNT:
		break;
	}
	/* Ratios are compared: nothing has none. */
	return x > 0 && isfinite(x) ? x * metrics[m].scale : NAN;
}

const struct exact_quantity exact_quantities[EXACT_COUNT] = {
	[EXACT_LAUNCHES] = {"launches", "driver calls a token", "api_launches_per_token", 1},
	[EXACT_NODE_UPDATES] = {"node-updates", "graph nodes set a token", "node_updates_per_token", 1},
	[EXACT_KERNELS] = {"kernels", "kernels a token", "kernels_per_token", 1},
	[EXACT_COPIES] = {"copies", "copies a token", "copies_per_token", 1},
	[EXACT_PROMPT_LAUNCHES] = {"prompt-launches", "driver calls a prompt", "api_launches_per_prompt", 1},
	[EXACT_PROMPT_NODE_UPDATES] = {"prompt-node-updates", "graph nodes set a prompt", "node_updates_per_prompt", 1},
	[EXACT_PROMPT_KERNELS] = {"prompt-kernels", "kernels a prompt", "kernels_per_prompt", 1},
	[EXACT_PROMPT_COPIES] = {"prompt-copies", "copies a prompt", "copies_per_prompt", 1},
	[EXACT_NODES] = {"nodes", "nodes of the graph", "graph_nodes", 1},
	[EXACT_WEIGHT_BYTES] = {"weight-bytes", "weight bytes read a token", "weight_bytes_per_token", 1},
	[EXACT_KV_BYTES] = {"kv-bytes", "K/V bytes read a token", "kv_bytes_per_token", 1},
	[EXACT_CROSSING] = {"crossing-bytes", "bytes between devices a token", "crossing_bytes_per_token", 1},
	[EXACT_KEPT] = {"evicted", "cache entries that SnapKV removed", "evicted_entries", 0},
	[EXACT_LOGITS] = {"logits", "bits of the logits", "logits_hash", 0},
};

const char *exact_text(const struct run_row *row, enum exact_id q, char text[COLUMN_TEXT_SIZE])
{
	const struct column *c = column_find(row_columns, row_n_columns, exact_quantities[q].column);
	return column_text(row, c, text);
}
