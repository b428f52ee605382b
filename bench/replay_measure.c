#include "bench/replay_measure.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"

enum { WARM_UPS = 3 };

const char *replay_state_name(enum replay_state s)
{
	static const char *const names[] = {"idle", "gated", "queued", "first"};
	return names[s];
}

const char *replay_quantity_name(enum replay_quantity q)
{
	static const char *const names[] = {"host", "device", "total", "update", "instantiate", "upload"};
	return names[q];
}

/* What is measured, while it is. */
struct subject {
	struct replay_gpu *g;
	const struct replay_spec *s;
	const struct replay_way *w;
	struct replay_graph graph, other; /* other: for whole updates */
	struct cu_graph_exec *exec;
	struct replay_times *out;
	double sample[REPLAY_QUANTITIES];
	int turn;
};

static double us_since(int64_t from)
{
	return (double)(clock_ns() - from) * 1e-3;
}

static int instantiate(struct subject *m)
{
	int64_t from = clock_ns();
	int result = m->g->cu.GraphInstantiateWithFlags(&m->exec, m->graph.graph, 0);
	m->sample[REPLAY_INSTANTIATE] = us_since(from);
	return result;
}

static int upload(struct subject *m)
{
	const struct cuda_driver *cu = &m->g->cu;
	int64_t from = clock_ns();
	int result = cu->GraphUpload(m->exec, m->g->stream);
	result = result ? result : cu->StreamSynchronize(m->g->stream);
	m->sample[REPLAY_UPLOAD] = us_since(from);
	return result;
}

/* add: what the kernels are to add from now on. */
static int update(struct subject *m, unsigned add)
{
	struct cu_update_result why;
	int64_t from = clock_ns();
	int result;
	if (m->w->updates == REPLAY_UPDATE_WHOLE)
		result = m->g->cu.GraphExecUpdate(m->exec, m->turn++ % 2 ? m->graph.graph : m->other.graph, &why);
	else
		result = replay_graph_set(m->g, m->s, &m->graph, m->exec, m->w->updates, add);
	m->sample[REPLAY_UPDATE] = us_since(from);
	return result;
}

static int launch(struct subject *m)
{
	int64_t from = clock_ns();
	int result = m->g->cu.GraphLaunch(m->exec, m->g->stream);
	m->sample[REPLAY_HOST] = us_since(from);
	return result;
}

static int launch_idle(struct subject *m)
{
	int64_t from = clock_ns();
	int result = launch(m);
	result = result ? result : m->g->cu.StreamSynchronize(m->g->stream);
	m->sample[REPLAY_TOTAL] = us_since(from);
	return result;
}

static int launch_gated(struct subject *m)
{
	struct replay_gpu *g = m->g;
	float ms = 0;
	int result = replay_gate_close(g);
	if (!result && m->w->state == REPLAY_QUEUED)
		result = g->cu.GraphLaunch(m->exec, g->stream);
	if (!result)
		result = g->cu.EventRecord(g->from, g->stream);
	result = result ? result : launch(m);
	if (!result)
		result = g->cu.EventRecord(g->to, g->stream);
	replay_gate_open(g);
	result = result ? result : g->cu.StreamSynchronize(g->stream);
	result = result ? result : g->cu.EventElapsedTime(&ms, g->from, g->to);
	m->sample[REPLAY_DEVICE] = (double)ms * 1e3;
	return result;
}

static int one(struct subject *m)
{
	int result;
	if (m->w->state == REPLAY_FIRST) {
		result = instantiate(m);
		if (!result && m->w->upload)
			result = upload(m);
		result = result ? result : launch_idle(m);
		if (m->exec)
			m->g->cu.GraphExecDestroy(m->exec);
		m->exec = NULL;
		return result;
	}
	result = m->w->updates ? update(m, 0) : 0;
	if (result)
		return result;
	return m->w->state == REPLAY_IDLE ? launch_idle(m) : launch_gated(m);
}

static bool measured(const struct replay_way *w, enum replay_quantity q)
{
	bool first = w->state == REPLAY_FIRST;
	switch (q) {
	case REPLAY_HOST:
		return true;
	case REPLAY_DEVICE:
		return w->state == REPLAY_GATED || w->state == REPLAY_QUEUED;
	case REPLAY_TOTAL:
		return first || w->state == REPLAY_IDLE;
	case REPLAY_UPDATE:
		return w->updates != 0;
	case REPLAY_INSTANTIATE:
		return first;
	default:
		return first && w->upload;
	}
}

/* A replay of a graph that counts: every kernel once, those that were updated with what they were given, but no patch.
 */
static int check(struct subject *m, struct error *err)
{
	const struct cuda_driver *cu = &m->g->cu;
	struct subject c = {.g = m->g, .s = m->s, .w = m->w};
	unsigned zero[REPLAY_COUNT_BYTES / sizeof(unsigned)] = {0}, got[REPLAY_COUNT_BYTES / sizeof(unsigned)];
	bool patched = m->s->shape == REPLAY_PATCHED;
	unsigned more = m->w->updates == REPLAY_UPDATE_WHOLE ? 3 : 2;
	int rc = replay_graph_capture(m->g, m->s, 1, &c.graph, err);
	if (!rc && m->w->updates == REPLAY_UPDATE_WHOLE)
		rc = replay_graph_capture(m->g, m->s, more, &c.other, err);
	int updated = patched ? c.graph.n_patched : m->w->updates < 0 ? c.graph.n_kernels : m->w->updates;
	unsigned want = (unsigned)(c.graph.n_kernels - patched) + (unsigned)updated * (more - 1);
	int result = 0;
	if (!rc && !(result = cu->MemcpyHtoDAsync(m->g->count, zero, sizeof zero, m->g->stream)) &&
	    !(result = instantiate(&c)) && !(result = patched ? upload(&c) : 0) &&
	    !(result = m->w->updates ? update(&c, more) : 0) && !(result = launch_idle(&c)) &&
	    !(result = cu->MemcpyDtoHAsync(got, m->g->count, sizeof got, m->g->stream)))
		result = cu->StreamSynchronize(m->g->stream);
	if (result)
		rc = cuda_driver_error(cu, result, err, "checking a replay of %d nodes (%s)", m->s->nodes,
				       replay_shape_name(m->s->shape));
	else if (!rc && patched && got[REPLAY_AT_FAILED / sizeof(unsigned)])
		rc = error_set(err, ERROR_DEVICE, "setting nodes of a graph of %d on the device (%s): error %u of CUDA",
			       m->s->nodes, replay_patch_name(m->s->patch), got[REPLAY_AT_FAILED / sizeof(unsigned)]);
	else if (!rc && got[0] != want)
		rc = error_set(err, ERROR_WRONG, "a replay of %d nodes (%s, %d updated%s%s) counted to %u, not to %u",
			       m->s->nodes, replay_shape_name(m->s->shape), patched ? updated : m->w->updates,
			       patched ? " by " : "", patched ? replay_patch_name(m->s->patch) : "", got[0], want);
	if (c.exec)
		cu->GraphExecDestroy(c.exec);
	replay_graph_free(m->g, &c.graph);
	replay_graph_free(m->g, &c.other);
	return rc;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static int repeat(struct subject *m, double budget_us)
{
	struct replay_times *t = m->out;
	int64_t from = clock_ns();
	int result = 0;
	for (int i = -WARM_UPS; t->n < REPLAY_SAMPLES_MAX && !result; i++) {
		bool spent = us_since(from) > budget_us;
		if (spent && (i >= REPLAY_SAMPLES_MIN || t->expired > 0))
			break;
		result = one(m);
		if (result || i < 0)
			continue;
		if (measured(m->w, REPLAY_DEVICE) && replay_gate_expired(m->g)) {
			t->expired++;
			continue;
		}
		for (int q = 0; q < REPLAY_QUANTITIES; q++)
			t->us[q][t->n] = m->sample[q];
		t->n++;
	}
	for (int q = 0; q < REPLAY_QUANTITIES; q++) {
		t->has[q] = t->n > 0 && measured(m->w, (enum replay_quantity)q);
		qsort(t->us[q], (size_t)t->n, sizeof(double), ascending);
	}
	return result;
}

int replay_measure(struct replay_gpu *g, const struct replay_spec *s, const struct replay_way *w, double budget_us,
		   struct replay_times *out, struct error *err)
{
	struct subject m = {.g = g, .s = s, .w = w, .out = out};
	int result = 0;
	*out = (struct replay_times){0};
	int rc = check(&m, err);
	rc = rc ? rc : replay_graph_capture(g, s, 0, &m.graph, err);
	if (!rc && w->updates == REPLAY_UPDATE_WHOLE)
		rc = replay_graph_capture(g, s, 0, &m.other, err);
	if (!rc) {
		out->n_kernels = m.graph.n_kernels;
		out->n_copies = m.graph.n_copies;
		/* Updates before the first replay may slow all that follow. */
		if (w->state == REPLAY_FIRST ||
		    (!(result = instantiate(&m)) && !(result = upload(&m)) && !(result = launch_idle(&m))))
			result = repeat(&m, budget_us);
	}
	if (result)
		rc = cuda_driver_error(&g->cu, result, err, "replaying %d nodes (%s, %s)", s->nodes,
				       replay_shape_name(s->shape), replay_state_name(w->state));
	g->cu.StreamSynchronize(g->stream);
	if (m.exec)
		g->cu.GraphExecDestroy(m.exec);
	replay_graph_free(g, &m.graph);
	replay_graph_free(g, &m.other);
	return rc;
}

double replay_quantile(const double *sorted, int n, double q)
{
	int at = (int)ceil(q * n) - 1;
	return sorted[at < 0 ? 0 : at >= n ? n - 1 : at];
}
