/*
 * The front of a device, over an implementation that only counts its calls: what a capture
 * refuses and what is made to fail never reaches it, and graphs and counters are kept for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/device/device_ops.h"

/* ---- the implementation ---- */

static int calls;    /* that reached it */
static int captures; /* open, as it sees them */
static int destroyed;
static int failure; /* what its next calls return */
static char memory[8];

static int done(void)
{
	calls++;
	return failure;
}

static void counted_close(struct device *d)
{
	calls++;
	free(d);
}

static int counted_alloc(struct device *d, size_t bytes, void **out, struct error *err)
{
	(void)d, (void)bytes, (void)err;
	*out = memory;
	return done();
}

static int counted_alloc_mapped(struct device *d, size_t bytes, void **out, void **host, struct error *err)
{
	*host = memory;
	return counted_alloc(d, bytes, out, err);
}

static void counted_free(struct device *d, void *p)
{
	(void)d;
	assert_non_null(p);
	calls++;
}

static int counted_upload(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	(void)d, (void)dst, (void)src, (void)bytes, (void)err;
	return done();
}

static int counted_copy(struct device *d, void *dst, const void *src, size_t bytes, struct error *err)
{
	if (d->capturing && !recording_add(&d->capture, RECORDED_COPY, 0))
		return -1;
	return counted_upload(d, dst, src, bytes, err);
}

static int counted_launch(struct device *d, enum kernel k, const void *params, struct error *err)
{
	if (d->capturing)
		memcpy(recording_add(&d->capture, k, kernel_params_bytes(k)), params, kernel_params_bytes(k));
	int rc = device_note_launch(d, 1, err);
	return rc ? rc : done();
}

static int counted_stamps_begin(struct device *d, struct error *err)
{
	(void)d, (void)err;
	return done();
}

static int counted_stamps_end(struct device *d, struct device_stamps *out, struct error *err)
{
	(void)out, (void)err;
	assert_true(d->stamps.on && (!out->n_launches || d->stamps.launches[0].n_blocks == 1));
	return done();
}

static int counted_synchronize(struct device *d, struct error *err)
{
	(void)d, (void)err;
	return done();
}

static int counted_event_create(struct device *d, struct device_event **out, struct error *err)
{
	(void)d, (void)err;
	*out = (struct device_event *)memory;
	return done();
}

static int counted_event(struct device *d, struct device_event *e, struct error *err)
{
	(void)d, (void)e, (void)err;
	return done();
}

static void counted_event_destroy(struct device *d, struct device_event *e)
{
	(void)d;
	assert_non_null(e);
	calls++;
}

static int counted_begin(struct device *d, struct error *err)
{
	(void)d, (void)err;
	captures++;
	return done();
}

static int counted_end(struct device *d, struct device_graph *g, struct error *err)
{
	(void)d, (void)g, (void)err;
	captures--;
	return done();
}

static void counted_abort(struct device *d)
{
	(void)d;
	captures--;
}

static int counted_instantiate(struct device *d, struct device_graph *g, struct device_exec **out, struct error *err)
{
	(void)d, (void)g, (void)err;
	*out = failure ? NULL : calloc(1, sizeof **out);
	return done();
}

static int counted_exec(struct device *d, struct device_exec *x, struct error *err)
{
	(void)d, (void)x, (void)err;
	return done();
}

static int counted_set_params(struct device *d, struct device_exec *x, int node, const void *params, struct error *err)
{
	(void)d, (void)x, (void)node, (void)params, (void)err;
	return done();
}

static int counted_update(struct device *d, struct device_exec *x, struct device_graph *g, struct error *err)
{
	(void)d, (void)x, (void)g, (void)err;
	return done();
}

static void counted_exec_destroy(struct device *d, struct device_exec *x)
{
	(void)d;
	calls++;
	free(x);
}

static void counted_graph_destroy(struct device *d, struct device_graph *g)
{
	(void)d, (void)g;
	destroyed++;
}

static const struct device_ops counted = {
	.name = "counted",
	.graph_bytes = sizeof(struct device_graph),
	.close = counted_close,
	.alloc = counted_alloc,
	.alloc_mapped = counted_alloc_mapped,
	.free = counted_free,
	.upload = counted_upload,
	.download = counted_upload,
	.copy = counted_copy,
	.send = counted_upload,
	.launch = counted_launch,
	.synchronize = counted_synchronize,
	.stamps_begin = counted_stamps_begin,
	.stamps_end = counted_stamps_end,
	.event_create = counted_event_create,
	.event_record = counted_event,
	.event_wait = counted_event,
	.event_destroy = counted_event_destroy,
	.capture_begin = counted_begin,
	.capture_end = counted_end,
	.capture_abort = counted_abort,
	.instantiate = counted_instantiate,
	.exec_upload = counted_exec,
	.exec_set_params = counted_set_params,
	.exec_update = counted_update,
	.replay = counted_exec,
	.exec_destroy = counted_exec_destroy,
	.graph_destroy = counted_graph_destroy,
};

/* ---- calls ---- */

static const struct add_params params = {.n = 3, .scale = 7};

/* Of one copy and one kernel. */
static struct device_graph *capture(struct device *d)
{
	struct device_graph *g;
	assert_int_equal(device_capture_begin(d, DEVICE_GRAPH_PLAIN, NULL), 0);
	assert_int_equal(device_copy(d, memory, memory, 1, NULL), 0);
	assert_int_equal(device_launch(d, KERNEL_add, &params, NULL), 0);
	assert_int_equal(device_capture_end(d, &g, NULL), 0);
	assert_non_null(g);
	return g;
}

struct fixture {
	struct device *d;
	struct device_graph *g;
	struct device_exec *x;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	f->d = calloc(1, sizeof *f->d);
	f->d->ops = &counted;
	failure = destroyed = captures = 0;
	f->g = capture(f->d);
	assert_int_equal(device_instantiate(f->d, f->g, &f->x, NULL), 0);
	calls = 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	failure = 0;
	device_exec_destroy(f->d, f->x);
	device_graph_destroy(f->d, f->g);
	device_close(f->d);
	assert_int_equal(captures, 0);
	free(f);
	return 0;
}

enum { GUARDED = 16 };

static const char *const names[GUARDED] = {
	"alloc",       "alloc_mapped",    "free",         "upload",     "download",      "send",
	"synchronize", "event_create",    "event_record", "event_wait", "capture_begin", "instantiate",
	"exec_upload", "exec_set_params", "exec_update",  "replay",
};

static const int steps[GUARDED] = {
	DEVICE_FAULT_ALLOC,
	DEVICE_FAULT_ALLOC,
	-1,
	-1,
	-1,
	-1,
	DEVICE_FAULT_SYNCHRONIZE,
	-1,
	-1,
	DEVICE_FAULT_SYNCHRONIZE,
	DEVICE_FAULT_CAPTURE_BEGIN,
	DEVICE_FAULT_INSTANTIATE,
	DEVICE_FAULT_UPLOAD,
	DEVICE_FAULT_SET_PARAMS,
	DEVICE_FAULT_UPDATE,
	DEVICE_FAULT_REPLAY,
};

/* out: what the call gave, where it gives something. */
static int call(struct fixture *f, int which, void **out, struct error *err)
{
	struct device_event *e = (struct device_event *)memory, *event = e;
	struct device_exec *x = NULL;
	void *host;
	int rc = 0;
	switch (which) {
	case 0:
		return device_alloc(f->d, 64, out, err);
	case 1:
		return device_alloc_mapped(f->d, 64, out, &host, err);
	case 2:
		device_free(f->d, memory);
		return 0;
	case 3:
		return device_upload(f->d, memory, memory, 1, err);
	case 4:
		return device_download(f->d, memory, memory, 1, err);
	case 5:
		return device_send(f->d, memory, memory, 1, err);
	case 6:
		return device_synchronize(f->d, err);
	case 7:
		rc = device_event_create(f->d, &event, err);
		*out = event;
		return rc;
	case 8:
		return device_event_record(f->d, e, err);
	case 9:
		return device_event_wait(f->d, e, err);
	case 10:
		return device_capture_begin(f->d, DEVICE_GRAPH_PLAIN, err);
	case 11:
		rc = device_instantiate(f->d, f->g, &x, err);
		*out = x;
		return rc;
	case 12:
		return device_exec_upload(f->d, f->x, err);
	case 13:
		return device_exec_set_params(f->d, f->x, 1, &params, err);
	case 14:
		return device_exec_update(f->d, f->x, f->g, err);
	default:
		return device_replay(f->d, f->x, err);
	}
}

/* ---- tests ---- */

static void test_a_capture_lets_nothing_through(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < GUARDED; i++) {
		struct error err = {""};
		struct device_graph *g = f->g;
		char text[128];
		void *out = NULL;
		assert_int_equal(device_capture_begin(f->d, DEVICE_GRAPH_PLAIN, NULL), 0);
		int before = calls, rc = call(f, i, &out, &err);
		snprintf(text, sizeof text, "counted device: %s is not allowed while capturing", names[i]);
		if (strcmp(names[i], "free")) {
			assert_int_equal(rc, ERROR_DEVICE);
			assert_string_equal(err.text, text);
		}
		assert_null(out);
		assert_int_equal(calls, before);
		assert_int_equal(device_capture_end(f->d, &g, &err), ERROR_DEVICE);
		assert_null(g);
		assert_int_equal(captures, 0); /* the implementation's ended too */
		snprintf(text, sizeof text, "counted device: capture failed: %s is not allowed while capturing",
			 names[i]);
		assert_string_equal(err.text, text);
	}
	/* The next capture knows nothing of it. */
	device_graph_destroy(f->d, capture(f->d));
}

static void test_a_fault_lets_nothing_through(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < GUARDED; i++) {
		if (steps[i] < 0)
			continue;
		struct error err = {""};
		void *out = NULL;
		calls = 0;
		device_fail(f->d, (enum device_fault)steps[i], 0, 1);
		assert_int_equal(call(f, i, &out, &err), steps[i] == DEVICE_FAULT_ALLOC ? ERROR_MEMORY : ERROR_DEVICE);
		assert_int_equal(calls, 0);
		assert_null(out);
		assert_non_null(strstr(err.text, "counted device: "));
		assert_non_null(strstr(err.text, "(injected)"));
	}
	assert_int_equal(device_counters(f->d).api_launches, 0);
	assert_int_equal(device_counters(f->d).node_updates, 0);
	/* The end of a capture: the implementation's ends, and nothing is left of it. */
	struct error err = {""};
	struct device_graph *g = f->g;
	device_fail(f->d, DEVICE_FAULT_CAPTURE_END, 1, 1);
	device_graph_destroy(f->d, capture(f->d));
	assert_int_equal(device_capture_begin(f->d, DEVICE_GRAPH_PLAIN, NULL), 0);
	assert_int_equal(device_capture_end(f->d, &g, &err), ERROR_DEVICE);
	assert_string_equal(err.text, "counted device: capture_end failed (injected)");
	assert_null(g);
	assert_int_equal(captures, 0);
	assert_int_equal(device_capture_end(f->d, &g, &err), ERROR_DEVICE); /* none is open */
	assert_string_equal(err.text, "counted device: capture_end without capture_begin");
}

/* What succeeds is counted, what fails or is recorded is not. */
static void test_counters(void **state)
{
	struct fixture *f = *state;
	struct device *d = f->d;
	for (failure = 0; failure >= -1; failure--) {
		device_copy(d, memory, memory, 1, NULL);
		device_send(d, memory, memory, 1, NULL);
		device_exec_set_params(d, f->x, 1, &params, NULL);
		device_replay(d, f->x, NULL);
	}
	failure = 0;
	assert_int_equal(device_copy(d, memory, memory, 0, NULL), 0); /* nothing to do, nothing counted */
	device_graph_destroy(d, capture(d));
	struct device_counters c = device_counters(d);
	assert_int_equal(c.api_launches, 3);
	assert_int_equal(c.copies, 3);  /* one of the replay */
	assert_int_equal(c.kernels, 1); /* that of the replay */
	assert_int_equal(c.node_updates, 1);
}

static void test_only_kernel_nodes_take_params(void **state)
{
	struct fixture *f = *state;
	const int none[] = {-1, 0, 2};
	struct error err;
	for (int i = 0; i < 3; i++)
		assert_int_equal(device_exec_set_params(f->d, f->x, none[i], &params, &err), ERROR_DEVICE);
	assert_non_null(strstr(err.text, "node 2 is no kernel node"));
	assert_int_equal(calls, 0);
	assert_int_equal(device_counters(f->d).node_updates, 0);
}

static void test_graphs_keep_what_they_recorded(void **state)
{
	struct fixture *f = *state;
	int kernel;
	/* The memory of a destroyed graph serves the next capture: the others are not touched. */
	for (int i = 0; i < 5; i++)
		device_graph_destroy(f->d, capture(f->d));
	assert_int_equal(destroyed, 5);
	failure = -1;
	struct device_graph *g = f->g;
	assert_int_equal(device_capture_begin(f->d, DEVICE_GRAPH_PLAIN, NULL), -1);
	assert_int_equal(device_capture_end(f->d, &g, NULL), ERROR_DEVICE); /* it never began */
	captures = 0;
	failure = 0;
	assert_int_equal(device_capture_begin(f->d, DEVICE_GRAPH_PLAIN, NULL), 0);
	failure = -1;
	assert_int_equal(device_capture_end(f->d, &g, NULL), -1);
	assert_null(g);
	failure = 0;
	assert_int_equal(device_graph_nodes(f->g), 2);
	device_graph_node(f->g, 0, &kernel);
	assert_int_equal(kernel, -1);
	assert_memory_equal(device_graph_node(f->g, 1, &kernel), &params, sizeof params);
	assert_int_equal(kernel, KERNEL_add);
}

/* Labels and launches between begin and end, and none of a rehearsal. */
static void test_stamps(void **state)
{
	struct fixture *f = *state;
	struct device *d = f->d;
	struct device_stamps s;
	struct error err;
	const struct add_params p = {.n = 1};
	assert_int_equal(device_stamps_end(d, &s, &err), ERROR_DEVICE);
	assert_int_equal(device_stamps_rehearse(d, true, &err), ERROR_DEVICE);
	assert_int_equal(device_stamps_begin(d, NULL), 0);
	assert_int_equal(device_stamps_begin(d, &err), ERROR_DEVICE);
	assert_non_null(strstr(err.text, "already"));
	assert_int_equal(device_stamps_rehearse(d, true, NULL), 0);
	int before = calls;
	assert_int_equal(device_copy(d, memory, memory, 4, NULL), 0);
	assert_int_equal(device_send(d, memory, memory, 4, NULL), 0);
	assert_int_equal(calls, before);
	assert_int_equal(device_stamps_rehearse(d, false, NULL), 0);
	device_set_label(d, (struct device_label){3, 5});
	assert_int_equal(device_launch(d, KERNEL_add, &p, NULL), 0);
	device_set_label(d, (struct device_label){4, -1});
	assert_int_equal(device_launch(d, KERNEL_add, &p, NULL), 0);
	assert_int_equal(device_stamps_end(d, &s, NULL), 0);
	assert_int_equal(s.n_launches, 2);
	assert_int_equal(s.labels[0].kind, 3);
	assert_int_equal(s.labels[0].layer, 5);
	assert_int_equal(s.labels[1].kind, 4);
	assert_int_equal(s.labels[1].layer, -1);
	device_stamps_free(&s);
	/* What the implementation says of its end, and then it is over. */
	assert_int_equal(device_stamps_begin(d, NULL), 0);
	device_fail(d, DEVICE_FAULT_SYNCHRONIZE, 0, 1);
	assert_int_equal(device_stamps_end(d, &s, &err), ERROR_DEVICE);
	device_stamps_free(&s);
	assert_int_equal(device_stamps_end(d, &s, &err), ERROR_DEVICE);
	assert_int_equal(device_capture_begin(d, DEVICE_GRAPH_PLAIN, NULL), 0);
	assert_int_equal(device_stamps_begin(d, &err), ERROR_DEVICE);
	device_capture_abort(d);
}

static void test_nothing_is_nothing(void **state)
{
	struct fixture *f = *state;
	device_free(f->d, NULL);
	device_event_destroy(f->d, NULL);
	device_exec_destroy(f->d, NULL);
	device_graph_destroy(f->d, NULL);
	device_capture_abort(f->d);
	assert_int_equal(calls + captures + destroyed, 0);
	/* Also while capturing, where a free of something fails the capture. */
	assert_int_equal(device_capture_begin(f->d, DEVICE_GRAPH_PLAIN, NULL), 0);
	device_free(f->d, NULL);
	struct device_graph *g;
	assert_int_equal(device_capture_end(f->d, &g, NULL), 0);
	assert_int_equal(device_graph_nodes(g), 0);
	device_graph_destroy(f->d, g);
	/* Closing ends what is open: teardown looks. */
	assert_int_equal(device_capture_begin(f->d, DEVICE_GRAPH_PLAIN, NULL), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_capture_lets_nothing_through),
		T(test_a_fault_lets_nothing_through),
		T(test_counters),
		T(test_only_kernel_nodes_take_params),
		T(test_graphs_keep_what_they_recorded),
		T(test_stamps),
		T(test_nothing_is_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
