/*
 * Modes and captured graphs. Knows no backend and no kernel: what depends on the
 * position says so by kernel_positional, and starts its params with struct at.
 */
#include "engine/device/graph.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "engine/device/nvtx.h"

enum { PARAMS_MAX = 1024 };

#define X(name, positional) static_assert(sizeof(struct name##_params) <= PARAMS_MAX, #name "_params");
KERNEL_LIST(X)
#undef X

struct entry {
	struct graph_key key;
	struct device_graph *graph; /* also the template of the params of its nodes */
	struct device_exec *exec;
	struct step base; /* that it was captured with */
	int *positional;  /* nodes whose params change with the position */
	int n_positional;
	uint64_t last_used;
};

/* What the host and a loop share, in the host's memory. */
struct ring {
	int stop;
	int reserved[15];
	struct loop_mark marks[GRAPH_LOOP_MAX + 1];
	int tokens[GRAPH_LOOP_MAX];
};

/* On the device: what graphs read, by the time of their replay. */
struct cells {
	struct step steps[GRAPH_STEPS]; /* of graph-device and graph-patch */
	struct loop_state loop;
};

struct graph_cache {
	struct device *device;
	struct cells *cells;
	struct ring *ring;         /* as the device has it; null: no mode has looped yet */
	struct ring *ring_on_host; /* the same memory */
	struct entry *entries;
	int n_entries;
	int capacity;
	uint64_t tick;
	struct graph_stats stats;
	char reason[256];
};

static const char *const mode_names[GRAPH_MODE_COUNT] = {
	[GRAPH_MODE_DIRECT] = "direct",       [GRAPH_MODE_PARAMS] = "graph-params",
	[GRAPH_MODE_UPDATE] = "graph-update", [GRAPH_MODE_DEVICE] = "graph-device",
	[GRAPH_MODE_PATCH] = "graph-patch",   [GRAPH_MODE_WHILE] = "graph-while",
	[GRAPH_MODE_LOOP] = "graph-loop",
};

enum device_graph_kind graph_mode_kind(enum graph_mode m)
{
	switch (m) {
	case GRAPH_MODE_PATCH:
		return DEVICE_GRAPH_PATCHED;
	case GRAPH_MODE_WHILE:
		return DEVICE_GRAPH_WHILE;
	case GRAPH_MODE_LOOP:
		return DEVICE_GRAPH_RELAUNCHED;
	default:
		return DEVICE_GRAPH_PLAIN;
	}
}

const char *graph_mode_name(enum graph_mode m)
{
	return m < GRAPH_MODE_COUNT ? mode_names[m] : "unknown";
}

int graph_mode_parse(const char *name)
{
	for (int m = 0; m < GRAPH_MODE_COUNT; m++)
		if (!strcmp(name, mode_names[m]))
			return m;
	return -1;
}

bool graph_mode_loops(enum graph_mode m)
{
	return m == GRAPH_MODE_WHILE || m == GRAPH_MODE_LOOP;
}

int graph_mode_check(enum graph_mode m, const struct device *d, struct error *err)
{
	int rc = device_can_graph(d, graph_mode_kind(m), err);
	return rc ? error_prefix(err, rc, "%s", graph_mode_name(m)) : 0;
}

const char *graph_event_name(enum graph_event e)
{
	static const char *const names[] = {"direct", "capture", "update", "replay", "fallback"};
	return e <= GRAPH_EVENT_FALLBACK ? names[e] : "unknown";
}

size_t graph_cache_device_bytes(void)
{
	return sizeof(struct cells);
}

int graph_cache_open(struct graph_cache **out, struct device *d, int capacity, struct error *err)
{
	assert(capacity > 0);
	*out = NULL;
	struct graph_cache *c = calloc(1, sizeof *c);
	if (!c)
		return error_set(err, ERROR_MEMORY, "no memory for the graph cache");
	c->device = d;
	c->capacity = capacity;
	c->entries = calloc((size_t)capacity, sizeof *c->entries);
	if (!c->entries) {
		free(c);
		return error_set(err, ERROR_MEMORY, "no memory for the graph cache");
	}
	void *cells;
	int rc = device_alloc(d, graph_cache_device_bytes(), &cells, err);
	if (rc) {
		free(c->entries);
		free(c);
		return rc;
	}
	c->cells = cells;
	*out = c;
	return 0;
}

static void entry_free(struct graph_cache *c, struct entry *e)
{
	device_exec_destroy(c->device, e->exec);
	device_graph_destroy(c->device, e->graph);
	free(e->positional);
	*e = (struct entry){0};
}

static void entry_drop(struct graph_cache *c, struct entry *e)
{
	entry_free(c, e);
	*e = c->entries[--c->n_entries];
	c->entries[c->n_entries] = (struct entry){0};
}

void graph_cache_clear(struct graph_cache *c)
{
	while (c->n_entries)
		entry_drop(c, &c->entries[c->n_entries - 1]);
}

void graph_cache_close(struct graph_cache *c)
{
	if (!c)
		return;
	graph_cache_clear(c);
	device_free(c->device, c->cells);
	if (device_has_host_memory(c->device))
		free(c->ring);
	else
		device_free(c->device, c->ring);
	free(c->entries);
	free(c);
}

static int open_ring(struct graph_cache *c, struct error *err)
{
	void *on_device, *on_host;
	if (c->ring)
		return 0;
	if (device_has_host_memory(c->device)) {
		c->ring = c->ring_on_host = calloc(1, sizeof *c->ring);
		return c->ring ? 0 : error_set(err, ERROR_MEMORY, "no memory for a loop's tokens");
	}
	int rc = device_alloc_mapped(c->device, sizeof *c->ring, &on_device, &on_host, err);
	if (rc)
		return error_prefix(err, rc, "a loop's tokens");
	memset(on_host, 0, sizeof *c->ring);
	c->ring = on_device;
	c->ring_on_host = on_host;
	return 0;
}

int graph_cache_ring(struct graph_cache *c, struct graph_ring *out, struct error *err)
{
	int rc = open_ring(c, err);
	if (rc)
		return rc;
	*out = (struct graph_ring){
		.marks = c->ring_on_host->marks, .tokens = c->ring_on_host->tokens, .stop = &c->ring_on_host->stop};
	return 0;
}

int graph_ring_start(struct graph_cache *c, struct error *err)
{
	const struct advance_params p = {.marks = &c->ring->marks[GRAPH_LOOP_MAX]};
	c->ring_on_host->marks[GRAPH_LOOP_MAX].ns = 0;
	return device_launch(c->device, KERNEL_advance, &p, err);
}

/* Behind a token's work. */
static int emit_advance(struct graph_cache *c, const struct sampled *sampled, struct error *err)
{
	const struct advance_params p = {.state = &c->cells->loop,
					 .tokens = c->ring->tokens,
					 .sampled = sampled,
					 .marks = c->ring->marks,
					 .stop = &c->ring->stop};
	return device_launch(c->device, KERNEL_advance, &p, err);
}

/* In front of it: of all kernels it alone reads the step. */
static int emit_patch(struct graph_cache *c, const struct at *at, struct error *err)
{
	const struct patch_params p = {.step = c->cells->steps, .base = at->host.pos, .keys = DEVICE_SPLIT_KEYS};
	return device_launch(c->device, KERNEL_patch, &p, err);
}

struct graph_stats graph_cache_stats(const struct graph_cache *c)
{
	return c->stats;
}

const char *graph_cache_fallback_reason(const struct graph_cache *c)
{
	return c->reason;
}

static struct entry *find(struct graph_cache *c, const struct graph_key *key)
{
	for (int i = 0; i < c->n_entries; i++)
		if (!memcmp(&c->entries[i].key, key, sizeof *key))
			return &c->entries[i];
	return NULL;
}

static struct entry *make_room(struct graph_cache *c)
{
	if (c->n_entries == c->capacity) {
		struct entry *oldest = &c->entries[0];
		for (int i = 1; i < c->n_entries; i++)
			if (c->entries[i].last_used < oldest->last_used)
				oldest = &c->entries[i];
		entry_drop(c, oldest);
		c->stats.evictions++;
	}
	return &c->entries[c->n_entries];
}

/* A token or a chunk, or in a mode that loops the tokens of `loop`. */
struct work {
	const struct graph_key *key;
	const struct step *steps;
	int n_steps;
	struct graph_loop loop;
	graph_emit *emit;
	void *ctx;
};

static int record(struct graph_cache *c, const struct work *w, const struct at *at, struct device_graph **out,
		  struct error *err)
{
	int mode = w->key->mode;
	int rc = device_capture_begin(c->device, graph_mode_kind((enum graph_mode)mode), err);
	if (rc)
		return error_prefix(err, rc, "%s", graph_mode_name((enum graph_mode)mode));
	if (mode == GRAPH_MODE_PATCH)
		rc = emit_patch(c, at, err);
	if (!rc)
		rc = w->emit(w->ctx, at, err);
	if (!rc && graph_mode_loops((enum graph_mode)mode))
		rc = emit_advance(c, w->loop.sampled, err);
	if (rc) {
		device_capture_abort(c->device);
		return rc;
	}
	return device_capture_end(c->device, out, err);
}

static int capture(struct graph_cache *c, const struct work *w, const struct at *at, struct device_graph **out,
		   struct error *err)
{
	nvtx_push("capture", at->host.pos);
	int rc = record(c, w, at, out, err);
	nvtx_pop();
	return rc;
}

static int list_positional(struct graph_cache *c, struct entry *e, struct error *err)
{
	int n = device_graph_nodes(e->graph);
	e->positional = malloc((size_t)(n ? n : 1) * sizeof *e->positional);
	if (!e->positional)
		return error_set(err, ERROR_MEMORY, "no memory for the nodes of a graph");
	c->stats.nodes = n;
	c->stats.kernel_nodes = 0;
	for (int i = 0; i < n; i++) {
		int kernel;
		device_graph_node(e->graph, i, &kernel);
		if (kernel < 0)
			continue;
		c->stats.kernel_nodes++;
		if (kernel_positional((enum kernel)kernel))
			e->positional[e->n_positional++] = i;
	}
	c->stats.positional_nodes = e->n_positional;
	return 0;
}

/* Captures, instantiates and uploads; on success the entry is in the cache. */
static int build(struct graph_cache *c, const struct work *w, const struct at *at, struct entry **out,
		 struct error *err)
{
	struct entry e = {.key = *w->key, .base = at->host};
	int64_t t0 = clock_ns();
	int rc = capture(c, w, at, &e.graph, err);
	if (rc)
		return rc;
	int64_t t1 = clock_ns();
	nvtx_push("instantiate", device_graph_nodes(e.graph));
	rc = device_instantiate(c->device, e.graph, &e.exec, err);
	nvtx_pop();
	if (rc)
		goto fail;
	int64_t t2 = clock_ns();
	rc = device_exec_upload(c->device, e.exec, err);
	if (rc)
		goto fail;
	int64_t t3 = clock_ns();
	rc = list_positional(c, &e, err);
	if (rc)
		goto fail;
	c->stats.captures++;
	c->stats.capture_us += (double)(t1 - t0) * 1e-3;
	c->stats.instantiate_us += (double)(t2 - t1) * 1e-3;
	c->stats.upload_us += (double)(t3 - t2) * 1e-3;
	struct entry *slot = make_room(c);
	*slot = e;
	c->n_entries++;
	*out = slot;
	return 0;
fail:
	entry_free(c, &e);
	return rc;
}

static int set_positions(struct graph_cache *c, struct entry *e, const struct at *at, struct error *err)
{
	_Alignas(16) unsigned char params[PARAMS_MAX];
	for (int i = 0; i < e->n_positional; i++) {
		int kernel;
		struct at was, is = *at;
		const void *recorded = device_graph_node(e->graph, e->positional[i], &kernel);
		memcpy(params, recorded, kernel_params_bytes((enum kernel)kernel));
		memcpy(&was, params, sizeof was);
		is.host.pos += was.host.pos - e->base.pos; /* rows behind the chunk's first stay as far behind it */
		memcpy(params, &is, sizeof is);
		int rc = device_exec_set_params(c->device, e->exec, e->positional[i], params, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int recapture(struct graph_cache *c, struct entry *e, const struct work *w, const struct at *at,
		     struct error *err)
{
	struct device_graph *g = NULL;
	int rc = capture(c, w, at, &g, err);
	if (rc)
		return rc;
	/* Only params move into the executable: its nodes stay those of the first graph, so this one may go. */
	rc = device_exec_update(c->device, e->exec, g, err);
	device_graph_destroy(c->device, g);
	if (!rc)
		c->stats.updates++;
	return rc;
}

/* Brings an existing graph to this token. */
static int advance(struct graph_cache *c, struct entry *e, const struct work *w, const struct at *at,
		   enum graph_event *event, struct error *err)
{
	switch (e->key.mode) {
	case GRAPH_MODE_PARAMS:
		*event = GRAPH_EVENT_UPDATE;
		return set_positions(c, e, at, err);
	case GRAPH_MODE_UPDATE:
		*event = GRAPH_EVENT_UPDATE;
		return recapture(c, e, w, at, err);
	default:
		*event = GRAPH_EVENT_REPLAY;
		return 0;
	}
}

/* Where the mode's kernels find the step; null: in their params. */
static const struct step *step_on_device(const struct graph_cache *c, int mode)
{
	return mode == GRAPH_MODE_DEVICE                 ? c->cells->steps
	       : graph_mode_loops((enum graph_mode)mode) ? &c->cells->loop.step
							 : NULL;
}

static int send_loop(struct graph_cache *c, const struct step *step, const struct graph_loop *l, struct error *err)
{
	const struct loop_state state = {.step = *step, .next = l->first, .end = l->first + l->n, .last = l->last};
	return device_send(c->device, &c->cells->loop, &state, sizeof state, err);
}

/* What the replay reads of where it is. */
static int send(struct graph_cache *c, const struct entry *e, const struct work *w, struct error *err)
{
	int mode = w->key->mode;
	if (graph_mode_loops((enum graph_mode)mode))
		return send_loop(c, w->steps, &w->loop, err);
	if ((mode != GRAPH_MODE_DEVICE && mode != GRAPH_MODE_PATCH) || !e->n_positional)
		return 0;
	return device_send(c->device, c->cells->steps, w->steps, (size_t)w->n_steps * sizeof *w->steps, err);
}

static int replay(struct graph_cache *c, const struct work *w, enum graph_event *event, struct error *err)
{
	const struct graph_key *key = w->key;
	struct at at = {.device = step_on_device(c, key->mode), .host = *w->steps};
	struct entry *e = find(c, key);
	int rc;
	if (e) {
		rc = advance(c, e, w, &at, event, err);
		if (rc)
			goto broken;
	} else {
		*event = GRAPH_EVENT_CAPTURE;
		rc = build(c, w, &at, &e, err);
		if (rc)
			return rc;
	}
	e->last_used = ++c->tick;
	if ((rc = send(c, e, w, err)) || (rc = device_replay_loop(c->device, e->exec, w->loop.n, err)))
		goto broken;
	c->stats.replays++;
	return 0;
broken:
	/* Half of its nodes may be at the new position: nobody may replay it again. */
	entry_drop(c, e);
	return rc;
}

/* Token by token. A chosen one is not known before it is complete. */
static int launch_directly(struct graph_cache *c, struct work *w, struct error *err)
{
	struct at at = {.host = *w->steps};
	bool loops = graph_mode_loops((enum graph_mode)w->key->mode) && c->ring;
	struct graph_loop one = w->loop;
	int rc = 0;
	one.n = 1;
	if (w->loop.sampled)
		w->loop.n = 1;
	for (int i = 0; i < w->loop.n && !rc; i++, one.first++) {
		if (loops)
			rc = send_loop(c, &at.host, &one, err);
		if (!rc)
			rc = w->emit(w->ctx, &at, err);
		if (!rc && loops)
			rc = emit_advance(c, one.sampled, err);
		at.host.pos++;
		if (loops && i + 1 < w->loop.n)
			at.host.token = c->ring_on_host->tokens[one.first + 1];
	}
	return rc;
}

static int run(struct graph_cache *c, struct work *w, enum graph_event *event, struct error *err)
{
	*event = GRAPH_EVENT_DIRECT;
	if (w->key->mode != GRAPH_MODE_DIRECT) {
		struct error why = {0};
		int rc = graph_mode_loops((enum graph_mode)w->key->mode) ? open_ring(c, &why) : 0;
		if (!rc && !replay(c, w, event, &why))
			return 0;
		*event = GRAPH_EVENT_FALLBACK;
		c->stats.fallbacks++;
		text_escape(c->reason, sizeof c->reason, why.text);
	}
	return launch_directly(c, w, err);
}

int graph_run(struct graph_cache *c, const struct graph_key *key, const struct step *step, graph_emit *emit, void *ctx,
	      enum graph_event *event, struct error *err)
{
	struct work w = {.key = key, .steps = step, .n_steps = 1, .loop = {.n = 1}, .emit = emit, .ctx = ctx};
	return run(c, &w, event, err);
}

int graph_run_chunk(struct graph_cache *c, const struct graph_key *key, const struct step *steps, graph_emit *emit,
		    void *ctx, enum graph_event *event, struct error *err)
{
	struct work w = {
		.key = key, .steps = steps, .n_steps = GRAPH_STEPS, .loop = {.n = 1}, .emit = emit, .ctx = ctx};
	return run(c, &w, event, err);
}

int graph_run_loop(struct graph_cache *c, const struct graph_key *key, const struct step *step, struct graph_loop *l,
		   graph_emit *emit, void *ctx, enum graph_event *event, struct error *err)
{
	assert(graph_mode_loops((enum graph_mode)key->mode) && c->ring && l->n > 0 &&
	       l->first + l->n <= GRAPH_LOOP_MAX);
	struct work w = {.key = key, .steps = step, .n_steps = 1, .loop = *l, .emit = emit, .ctx = ctx};
	int rc = run(c, &w, event, err);
	l->n = w.loop.n;
	return rc;
}
