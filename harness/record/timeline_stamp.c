#include "harness/record/timeline_stamp.h"

#include <stddef.h>
#include <string.h>

const char *const timeline_kinds[] = {
	"embed",        "ple_model_proj", "qkv",      "ple",         "qkv_prepare", "attention",
	"attn_output",  "norm",           "router",   "ffn_gate_up", "ffn_down",    "experts_gate_up",
	"experts_down", "ple_gate",       "ple_proj", "head",
};
enum { N_KINDS = sizeof timeline_kinds / sizeof *timeline_kinds };
const int timeline_n_kinds = N_KINDS;

int timeline_kind_find(const char *name)
{
	for (int i = 0; i < N_KINDS; i++)
		if (!strcmp(timeline_kinds[i], name))
			return i;
	return -1;
}

#define COLUMN(column, kind, member)                                                          \
	{                                                                                     \
		.name = column, .type = kind, .offset = offsetof(struct timeline_row, member) \
	}
const struct column timeline_columns[] = {
	{.name = "schema_version",
	 .type = COLUMN_INT,
	 .offset = offsetof(struct timeline_row, schema_version),
	 .absent = "1"},
	COLUMN("run_id", COLUMN_TEXT, run_id),
	COLUMN("block", COLUMN_COUNT, stamp.block),
	COLUMN("sm", COLUMN_COUNT, stamp.sm),
	COLUMN("phase", COLUMN_COUNT, stamp.phase),
	COLUMN("layer", COLUMN_COUNT, stamp.layer),
	{.name = "kind",
	 .type = COLUMN_NAME,
	 .offset = offsetof(struct timeline_row, stamp.kind),
	 .names = timeline_kinds,
	 .n_names = N_KINDS},
	COLUMN("entered_ns", COLUMN_INT, stamp.entered_ns),
	COLUMN("input_ns", COLUMN_INT, stamp.input_ns),
	COLUMN("worked_ns", COLUMN_INT, stamp.worked_ns),
	COLUMN("published_ns", COLUMN_INT, stamp.published_ns),
};
#undef COLUMN
const int timeline_n_columns = sizeof timeline_columns / sizeof *timeline_columns;
