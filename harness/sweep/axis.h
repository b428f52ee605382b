/*
 * The axes of a sweep: one table, from which options, help, sweep.json, the key of a row, tables and plots take
 * what they know of an axis. A new one is an entry here, a column (harness/record/row.h has it from here), what
 * executes it, and its test.
 *
 * A cell is one point: a value of every axis.
 */
#ifndef GEMMARK_HARNESS_SWEEP_AXIS_H
#define GEMMARK_HARNESS_SWEEP_AXIS_H

#include <stddef.h>

enum {
	AXIS_TOKENS_MAX = 1 << 20, /* of a prompt, a generation or a depth */
	AXIS_LAYERS_MAX = 10000,
	AXIS_THREADS_MAX = 4096,
	AXIS_UBATCH_MAX = 1 << 15, /* rows are a grid's y, which ends at 65535; 2^15 rows of 2^15 values an int */
	AXIS_TEXT_SIZE = 32,       /* an integer's text */
	CELL_HASH_SIZE = 24,
};

enum axis_kind { AXIS_INT, AXIS_WORD };

/* What another value costs, the dearest first. Cells that agree in all axes up to a level share what it names. */
enum axis_level {
	AXIS_LEVEL_PLACEMENT, /* the model is loaded anew */
	AXIS_LEVEL_GROUP,     /* the context is filled anew */
	AXIS_LEVEL_TEST,      /* other tokens are measured */
	AXIS_LEVEL_UNIT,      /* other kernels, or another way to time them: other bits are allowed */
	AXIS_LEVEL_MODE,      /* the same bits are expected */
};

/* -ngl auto: as many layers as fit beside the context. */
enum { AXIS_LAYERS_AUTO = -2 };

/* Whether the host waits for each token, as real decoding does, or queues them. */
#define SYNC_TOKEN "token"
#define SYNC_NONE "none"
/* The mode that every other one is checked against, of tokens and of a prompt's chunks. */
#define MODE_REFERENCE "direct"
#define MODE_REPLAYED "graph-device"   /* what stands for all that replay graphs */
#define FUSION_ONE_LAUNCH "persistent" /* whose token is the same launch in every mode */
/* What of a prompt is computed: what is needed to go on from it, or every row of everything. */
#define PREFILL_ROWS_OF_LAST "last"
#define PREFILL_ROWS_OF_ALL "all"
/* A full cache. */
#define SNAPKV_OFF "off"

/*
 * X(ID, kind, name, column, ...): from the outermost to the innermost, as cells are nested; the rest initialises
 * struct axis. A name is that of the member of struct cell and of the values in sweep.json; a column, of runs.csv.
 */
/* clang-format off */
#define AXIS_LIST(X) \
	X(MODEL, WORD, model, model_path_name, .level = AXIS_LEVEL_PLACEMENT, .option = "-m, --model", \
	  .argument = "FILE", \
	  .help = "model to measure, a GGUF file", \
	  .resolved = 1, .spoken = "model", .slug = "") \
	X(GPU_LAYERS, INT, n_gpu_layers, n_gpu_layers, .level = AXIS_LEVEL_PLACEMENT, \
	  .option = "-ngl, --n-gpu-layers", .argument = "N|auto", \
	  .help = "layers on the GPU, the first ones; the others run on the host; 0: none, -1: all where there is a GPU\n" \
		  "auto: as many as its free memory takes beside the depth's cache and, with --fusion persistent, its tiles " \
		  "of weights (default -1)", \
	  .defaults = "-1", .min = -1, .max = AXIS_LAYERS_MAX, .resolved = 1, .spoken = "GPU layers", \
	  .slug = "ngl") \
	X(TYPE_K, WORD, type_k, type_k, .level = AXIS_LEVEL_PLACEMENT, .option = "-ctk, --cache-type-k", \
	  .argument = "TYPE", \
	  .help = "f32, f16, bf16 or q8_0 (default f16)", \
	  .defaults = "f16", .spoken = "K", .slug = "k-") \
	X(TYPE_V, WORD, type_v, type_v, .level = AXIS_LEVEL_PLACEMENT, .option = "-ctv, --cache-type-v", \
	  .argument = "TYPE", \
	  .help = "f32, f16, bf16 or q8_0 (default f16)", \
	  .defaults = "f16", .spoken = "V", .slug = "v-") \
	X(THREADS, INT, n_threads, n_threads, .level = AXIS_LEVEL_PLACEMENT, .option = "-t, --threads", \
	  .argument = "N", \
	  .help = "CPU threads; 0: one a physical core, within the CPU quota (default 0)", \
	  .defaults = "0", .max = AXIS_THREADS_MAX, .resolved = 1, .spoken = "threads", .slug = "t") \
	X(UBATCH, INT, n_ubatch, n_ubatch, .level = AXIS_LEVEL_PLACEMENT, .option = "-ub, --ubatch-size", \
	  .argument = "N", \
	  .help = "tokens of a prompt that are computed at once, a chunk\n" \
		  "0: 2048 where a GPU has the whole model and memory for that, else 512 (default 0)", \
	  .defaults = "0", .absent = "512", .max = AXIS_UBATCH_MAX, .resolved = 1, .spoken = "chunks of", .slug = "ub") \
	X(SNAPKV, WORD, snapkv, snapkv, .level = AXIS_LEVEL_GROUP, .option = "--snapkv", \
	  .argument = "off|BUDGET[,window=W][,pool=P]", \
	  .help = "at the depth keep BUDGET entries, the last W among them; scores pooled over P keys (default off; 64, 7)", \
	  .defaults = SNAPKV_OFF, .absent = SNAPKV_OFF, .spoken = "SnapKV", .slug = "snapkv-") \
	X(DEPTH, INT, n_depth, n_depth, .level = AXIS_LEVEL_GROUP, .option = "-d, --n-depth", .argument = "N", \
	  .help = "tokens in the cache before the test starts (default 0)", \
	  .defaults = "0", .max = AXIS_TOKENS_MAX, .spoken = "depth", .slug = "d") \
	X(PROMPT, INT, n_prompt, n_prompt, .level = AXIS_LEVEL_TEST, .option = "-p, --n-prompt", \
	  .argument = "N", \
	  .help = "tokens of a prompt test: one prefill; 0: none (default 512)", \
	  .defaults = "512", .max = AXIS_TOKENS_MAX, .spoken = "prompt tokens", .slug = "p") \
	X(GEN, INT, n_gen, n_gen, .level = AXIS_LEVEL_TEST, .option = "-n, --n-gen", .argument = "N", \
	  .help = "tokens of a generation test: decoded one by one; 0: none (default 128)", \
	  .defaults = "128", .max = AXIS_TOKENS_MAX, .spoken = "generated tokens", .slug = "n") \
	X(PREFILL_ROWS, WORD, prefill_rows, prefill_rows, .level = AXIS_LEVEL_UNIT, .option = "--prefill-rows", \
	  .argument = "R", \
	  .help = "of a measured prompt: last: what later tokens read, and the last row's logits; all: every row through " \
		  "every layer and the output head, as for a perplexity (default last)", \
	  .defaults = PREFILL_ROWS_OF_LAST, .absent = PREFILL_ROWS_OF_LAST, .words = axis_prefill_rows, .prompt_only = 1, \
	  .spoken = "prefill rows", .slug = "rows-") \
	X(FUSION, WORD, fusion, fusion, .level = AXIS_LEVEL_UNIT, .option = "--fusion", .argument = "F", \
	  .help = "none (one kernel a primitive), full, persistent (one kernel a token) or all (default full)", \
	  .defaults = "full", .spoken = "fusion", .slug = "fusion-") \
	X(SYNC, WORD, sync, sync, .level = AXIS_LEVEL_UNIT, .option = "--sync", .argument = "S", \
	  .help = "token: the host waits for each token, as real decoding does; none: tokens are queued and timed by the device (default token)", \
	  .defaults = SYNC_TOKEN, .absent = SYNC_TOKEN, .words = axis_syncs, .decode_only = 1, .spoken = "sync", .slug = "sync-") \
	X(PREFILL_MODE, WORD, prefill_mode, prefill_mode, .level = AXIS_LEVEL_MODE, .option = "--prefill-mode", \
	  .argument = "MODE", \
	  .help = "of a prompt test, how its chunks are launched: direct, graph-params, graph-update, graph-device or " \
		  "graph-patch (default direct)", \
	  .defaults = MODE_REFERENCE, .absent = MODE_REFERENCE, .no_decode = 1, .spoken = "prefill mode", \
	  .slug = "prefill-") \
	X(MODE, WORD, mode, mode, .level = AXIS_LEVEL_MODE, .option = "--mode", .argument = "MODE", \
	  .help = "of tokens: direct, graph-params, graph-update, graph-device, graph-patch, graph-loop, " \
		  "graph-while or all (default: the first four)\n" \
		  "Prompt tests run once whatever it is: --prefill-mode is theirs.", \
	  .defaults = "direct,graph-params,graph-update,graph-device", .absent = MODE_REFERENCE, \
	  .decode_only = 1, .spoken = "mode", .slug = "")
/* clang-format on */

#define AXIS_ID(ID, ...) AXIS_##ID,
enum axis_id { AXIS_LIST(AXIS_ID) AXIS_COUNT };
#undef AXIS_ID

#define AXIS_TYPE_INT int
#define AXIS_TYPE_WORD const char *
#define AXIS_MEMBER(ID, kind, member, ...) AXIS_TYPE_##kind member;
/*
 * Words belong to whoever made the cell; null stands for the value that `absent` names, null where the axis has none.
 * n_prompt > 0: a prefill of so many tokens at the depth is measured; n_gen > 0: so many decoded tokens are. Where both
 * are, the tokens behind the prefill, and both together are the test.
 */
struct cell {
	AXIS_LIST(AXIS_MEMBER)
	/* Of the model's content, 16 hexadecimal digits: its identity, where both are known. "": unknown. */
	char model_hash[CELL_HASH_SIZE];
};
#undef AXIS_MEMBER

struct axis {
	const char *name; /* in sweep.json */
	const char *column;
	enum axis_kind kind;
	size_t offset; /* in struct cell */
	enum axis_level level;
	const char *option;   /* its names, "-d, --n-depth" */
	const char *argument; /* "N" */
	const char *help;
	const char *defaults;     /* the list that is swept where no option names one; null: it must be named */
	const char *absent;       /* value of rows that are older than the axis, and of what it does not apply to */
	const char *const *words; /* null-terminated: what a word is one of; null: its user knows */
	int min;                  /* of an integer */
	int max;
	int decode_only;    /* prompt tests have the absent value */
	int prompt_only;    /* so have tests without a prompt */
	int no_decode;      /* so have all tests but prompt tests */
	int resolved;       /* values stand for others on this machine ("all layers"), and are one where those are */
	const char *spoken; /* in prose: "GPU layers" */
	const char *slug;   /* before its value in file names: "ngl" */
};

extern const struct axis axes[AXIS_COUNT];
/* What --sync and --prefill-rows take. */
extern const char *const axis_syncs[];
extern const char *const axis_prefill_rows[];

/* The axis of that name, or -1. */
int axis_find(const char *name);
/* Its option's first name, for messages: "-d". */
const char *axis_option(enum axis_id a, char out[AXIS_TEXT_SIZE]);

/* A cell's value as text: the word itself, or `number` filled. "auto" of the layers. */
const char *cell_text(const struct cell *c, enum axis_id a, char number[AXIS_TEXT_SIZE]);
/* An integer axis' value; a word axis' value, never null but where it is unknown and nothing is absent. */
int cell_int(const struct cell *c, enum axis_id a);
const char *cell_word(const struct cell *c, enum axis_id a);
void cell_set_int(struct cell *c, enum axis_id a, int value);
void cell_set_word(struct cell *c, enum axis_id a, const char *value);

/* Whether the value is the only one that is swept where no option names the axis, or all that older files have. */
int cell_is_default(const struct cell *c, enum axis_id a);

/* Equal values; of models, equal contents. */
int cell_same_value(const struct cell *a, const struct cell *b, enum axis_id axis);
/* Equal in every axis up to the level. */
int cell_same_to(const struct cell *a, const struct cell *b, enum axis_level level);
/* Same model, layers on the GPU, cache types, threads and the like: one loaded model serves both. */
int cell_same_placement(const struct cell *a, const struct cell *b);
/* Same placement, SnapKV and depth: one prefill serves both. */
int cell_same_group(const struct cell *a, const struct cell *b);
/* Same everything but the mode: the same bits are expected of both. */
int cell_same_unit(const struct cell *a, const struct cell *b);
/* Every axis: only a list made by hand has such cells. */
int cell_same(const struct cell *a, const struct cell *b);

/* A prefill alone is measured. */
int cell_is_prompt(const struct cell *c);
/* How what the cell measures is launched: a prompt test's chunks, or the tokens. */
const char *cell_mode(const struct cell *c);
/* The reference's mode. */
int cell_is_direct(const struct cell *c);
int cell_is_queued(const struct cell *c);
/* Of its tokens the device goes from one to the next: the host may follow them, and nobody waits for it. */
int cell_loops(const struct cell *c);
/* Its tokens' logits are not there behind each token: they run once more for them. */
int cell_runs_twice(const struct cell *c);
int cell_computes_all_rows(const struct cell *c);
/* Whether the axis means something to the cell's test; else its value is the absent one. */
int cell_has_axis(const struct cell *c, enum axis_id a);
/* Entries that SnapKV keeps of a prompt; 0: it is off. */
int cell_snapkv_budget(const struct cell *c);

enum { CELL_LABEL_SIZE = 64 };
/* "pp512", "tg128 @ d4096", "pp512+tg128" */
void cell_label(const struct cell *c, char out[CELL_LABEL_SIZE]);

/* Whether another model among these cells (n) has a file of that name, too. */
int cell_model_shares_name(const struct cell *c, const struct cell *cells, int n);

/* A file's name of 255 bytes, of which each may be ill-formed, with the mark. */
enum { CELL_MARK_SIZE = 9, CELL_MODEL_SIZE = 3 * 255 + CELL_MARK_SIZE + 1 };
/*
 * What the model is called among these cells: its file's name, as base/text.h makes names; "m.gguf#1a2b3c4d", with the
 * first half of its content's hash, where it shares that name.
 */
void cell_model_name(const struct cell *c, const struct cell *cells, int n, char out[CELL_MODEL_SIZE]);

#endif
