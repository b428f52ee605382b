#include "harness/record/token_record.h"

#include <assert.h>
#include <stddef.h>

static const char *const events[] = {"direct", "capture", "update", "replay", "fallback"};
static const char *const phases[] = {"warmup", "measure"};
static_assert(sizeof(enum token_event) == sizeof(int) && sizeof(enum token_phase) == sizeof(int),
	      "as COLUMN_NAME has them");

#define COLUMN(column, kind, member)                                                       \
	{                                                                                  \
		.name = column, .type = kind, .offset = offsetof(struct token_row, member) \
	}
#define NAME(column, member, list)                                                                                \
	{                                                                                                         \
		.name = column, .type = COLUMN_NAME, .offset = offsetof(struct token_row, member), .names = list, \
		.n_names = sizeof list / sizeof *list                                                             \
	}
const struct column token_columns[] = {
	{.name = "schema_version",
	 .type = COLUMN_INT,
	 .offset = offsetof(struct token_row, schema_version),
	 .absent = "1"},
	COLUMN("run_id", COLUMN_TEXT, run_id),
	NAME("phase", token.phase, phases),
	COLUMN("token_index", COLUMN_COUNT, token.index),
	COLUMN("pos", COLUMN_COUNT, token.pos),
	COLUMN("kv_len", COLUMN_COUNT, token.kv_len),
	COLUMN("submit_us", COLUMN_REAL, token.submit_us),
	COLUMN("gpu_us", COLUMN_REAL, token.gpu_us),
	COLUMN("wall_us", COLUMN_REAL, token.wall_us),
	COLUMN("itl_us", COLUMN_REAL, token.itl_us),
	NAME("graph_event", token.event, events),
	COLUMN("api_launches", COLUMN_COUNT, token.api_launches),
	COLUMN("node_updates", COLUMN_COUNT, token.node_updates),
	COLUMN("kernels", COLUMN_COUNT, token.kernels),
	COLUMN("copies", COLUMN_COUNT, token.copies),
	COLUMN("host_us", COLUMN_REAL, token.host_us),
};
#undef COLUMN
#undef NAME
const int token_n_columns = sizeof token_columns / sizeof *token_columns;

const char *token_event_name(enum token_event e)
{
	return e <= TOKEN_EVENT_FALLBACK ? events[e] : "";
}

const char *token_phase_name(enum token_phase p)
{
	return p <= TOKEN_PHASE_MEASURE ? phases[p] : "";
}
