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

struct graph_cache {
	struct device *device;
	struct step *steps; /* on the device, (GRAPH_STEPS): what graph-device graphs read */
	struct entry *entries;
	int n_entries;
	int capacity;
	uint64_t tick;
	struct graph_stats stats;
	char reason[256];
};

static const char *const mode_names[GRAPH_MODE_COUNT] = {
	[GRAPH_MODE_DIRECT] = "direct",
	[GRAPH_MODE_PARAMS] = "graph-params",
	[GRAPH_MODE_UPDATE] = "graph-update",
	[GRAPH_MODE_DEVICE] = "graph-device",
};

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

const char *graph_event_name(enum graph_event e)
{
	static const char *const names[] = {"direct", "capture", "update", "replay", "fallback"};
	return e <= GRAPH_EVENT_FALLBACK ? names[e] : "unknown";
}

size_t graph_cache_device_bytes(void)
{
	return GRAPH_STEPS * sizeof(struct step);
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
	void *steps;
	int rc = device_alloc(d, graph_cache_device_bytes(), &steps, err);
	if (rc) {
		free(c->entries);
		free(c);
		return rc;
	}
	c->steps = steps;
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
	device_free(c->device, c->steps);
	free(c->entries);
	free(c);
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

static int record(struct graph_cache *c, const struct at *at, graph_emit *emit, void *ctx, struct device_graph **out,
		  struct error *err)
{
	int rc = device_capture_begin(c->device, err);
	if (rc)
		return rc;
	rc = emit(ctx, at, err);
	if (rc) {
		device_capture_abort(c->device);
		return rc;
	}
	return device_capture_end(c->device, out, err);
}

static int capture(struct graph_cache *c, const struct at *at, graph_emit *emit, void *ctx, struct device_graph **out,
		   struct error *err)
{
	nvtx_push("capture", at->host.pos);
	int rc = record(c, at, emit, ctx, out, err);
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
static int build(struct graph_cache *c, const struct graph_key *key, const struct at *at, graph_emit *emit, void *ctx,
		 struct entry **out, struct error *err)
{
	struct entry e = {.key = *key, .base = at->host};
	int64_t t0 = clock_ns();
	int rc = capture(c, at, emit, ctx, &e.graph, err);
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

static int recapture(struct graph_cache *c, struct entry *e, const struct at *at, graph_emit *emit, void *ctx,
		     struct error *err)
{
	struct device_graph *g = NULL;
	int rc = capture(c, at, emit, ctx, &g, err);
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
static int advance(struct graph_cache *c, struct entry *e, const struct at *at, graph_emit *emit, void *ctx,
		   enum graph_event *event, struct error *err)
{
	switch (e->key.mode) {
	case GRAPH_MODE_PARAMS:
		*event = GRAPH_EVENT_UPDATE;
		return set_positions(c, e, at, err);
	case GRAPH_MODE_UPDATE:
		*event = GRAPH_EVENT_UPDATE;
		return recapture(c, e, at, emit, ctx, err);
	default:
		*event = GRAPH_EVENT_REPLAY;
		return 0;
	}
}

static int replay(struct graph_cache *c, const struct graph_key *key, const struct step *steps, int n_steps,
		  graph_emit *emit, void *ctx, enum graph_event *event, struct error *err)
{
	bool on_device = key->mode == GRAPH_MODE_DEVICE;
	struct at at = {.device = on_device ? c->steps : NULL, .host = *steps};
	struct entry *e = find(c, key);
	int rc;
	if (e) {
		rc = advance(c, e, &at, emit, ctx, event, err);
		if (rc)
			goto broken;
	} else {
		*event = GRAPH_EVENT_CAPTURE;
		rc = build(c, key, &at, emit, ctx, &e, err);
		if (rc)
			return rc;
	}
	e->last_used = ++c->tick;
	if (on_device && e->n_positional) {
		rc = device_send(c->device, c->steps, steps, (size_t)n_steps * sizeof *steps, err);
		if (rc)
			goto broken;
	}
	rc = device_replay(c->device, e->exec, err);
	if (rc)
		goto broken;
	c->stats.replays++;
	return 0;
broken:
	/* Half of its nodes may be at the new position: nobody may replay it again. */
	entry_drop(c, e);
	return rc;
}

static int run(struct graph_cache *c, const struct graph_key *key, const struct step *steps, int n_steps,
	       graph_emit *emit, void *ctx, enum graph_event *event, struct error *err)
{
	const struct at at = {.host = *steps};
	*event = GRAPH_EVENT_DIRECT;
	if (key->mode != GRAPH_MODE_DIRECT) {
		struct error why = {0};
		if (!replay(c, key, steps, n_steps, emit, ctx, event, &why))
			return 0;
		*event = GRAPH_EVENT_FALLBACK;
		c->stats.fallbacks++;
		text_escape(c->reason, sizeof c->reason, why.text);
	}
	return emit(ctx, &at, err);
}

int graph_run(struct graph_cache *c, const struct graph_key *key, const struct step *step, graph_emit *emit, void *ctx,
	      enum graph_event *event, struct error *err)
{
	return run(c, key, step, 1, emit, ctx, event, err);
}

int graph_run_chunk(struct graph_cache *c, const struct graph_key *key, const struct step *steps, graph_emit *emit,
		    void *ctx, enum graph_event *event, struct error *err)
{
	return run(c, key, steps, GRAPH_STEPS, emit, ctx, event, err);
}
