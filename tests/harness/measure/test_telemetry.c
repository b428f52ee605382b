/*
 * NVML on a stand-in for its library, the looks of the thread, what Linux says from a made
 * /proc and /sys, and what of it a sweep records.
 */
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/measure/nvml.h"
#include "harness/measure/runner.h"
#include "harness/measure/telemetry.h"
#include "harness/record/recorder.h"
#include "tests/support/fake_nvml.h"
#include "tests/support/fake_workload.h"
#include "tests/support/folder.h"
#include "tests/support/read_csv.h"
#include "tests/support/sanitized.h"

static char folder[FOLDER_BYTES];
static struct fake_nvml *script; /* of the library that is loaded */
static void *library;

static void load(const char *path)
{
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail_msg("%s", dlerror());
	script = dlsym(library, "fake_nvml");
	assert_non_null(script);
	*script = (struct fake_nvml){.gpus = 2,
				     .power = 1,
				     .energy_mj = 1000,
				     .sm_clock = {1980, 1980, 1500, 1500, 1500},
				     .power_mw = 350500,
				     .temperature = 61,
				     .utilization = 97,
				     .memory_utilization = 40};
	for (int i = 5; i < FAKE_NVML_CLOCKS; i++)
		script->sm_clock[i] = 1500;
}

static int set_up(void **state)
{
	(void)state;
	load(GEMMARK_FAKE_NVML);
	return folder_make(folder, "telemetry");
}

static int tear_down(void **state)
{
	(void)state;
	dlclose(library);
	return folder_remove(folder);
}

static struct nvml *open_nvml(const char *path)
{
	struct nvml *n;
	struct error err;
	if (nvml_open(&n, path, FAKE_NVML_BUS_ID, &err))
		fail_msg("%s", err.text);
	return n;
}

static void test_reading(void **state)
{
	(void)state;
	struct gpu_reading r;
	struct nvml *n = open_nvml(GEMMARK_FAKE_NVML);
	script->reasons = 0x4 | 0x20;
	nvml_read(n, &r);
	assert_true(r.sm_clock_mhz == 1980 && r.memory_clock_mhz == 2619 && r.power_w == 350.5);
	assert_true(r.energy_j == 1.5 && r.temperature_c == 61 && r.utilization == 97 && r.memory_utilization == 40);
	assert_int_equal(r.throttle_reasons, 0x24);
	assert_false(script->wrong_gpu);
	json_t *o = nvml_describe(n);
	assert_string_equal(json_string_value(json_object_get(o, "uuid")), "GPU-00000001-1111-2222-3333-444444444444");
	assert_string_equal(json_string_value(json_object_get(o, "vbios_version")), "96.00.99");
	assert_string_equal(json_string_value(json_object_get(o, "driver_version")), "580.65.06");
	assert_true(json_is_true(json_object_get(o, "ecc")) && json_is_false(json_object_get(o, "persistence")));
	assert_int_equal(json_integer_value(json_object_get(o, "power_limit_w")), 700);
	assert_int_equal(json_integer_value(json_object_get(o, "max_pcie_generation")), 5);
	assert_int_equal(json_integer_value(json_object_get(o, "pcie_generation_now")), 1);
	/* This library has no such functions. */
	assert_true(json_is_null(json_object_get(o, "mig")) && json_is_null(json_object_get(o, "max_pcie_width")));
	json_decref(o);
	nvml_close(n);
	assert_int_equal(script->opened, 1);
	assert_int_equal(script->closed, 1);
}

/* What is not supported, or not there, is unknown: not zero, and not what the call left behind. */
static void test_unknown(void **state)
{
	(void)state;
	struct gpu_reading r;
	script->power = 0;
	struct nvml *n = open_nvml(GEMMARK_FAKE_NVML);
	nvml_read(n, &r);
	assert_true(isnan(r.power_w) && r.sm_clock_mhz == 1980);
	json_t *o = nvml_describe(n);
	assert_true(json_is_null(json_object_get(o, "power_limit_w")));
	assert_true(json_is_null(json_object_get(o, "uuid")));
	assert_true(json_is_null(json_object_get(o, "vbios_version")));
	json_decref(o);
	nvml_close(n);
	dlclose(library);
	load(GEMMARK_FAKE_NVML_OLD);
	n = open_nvml(GEMMARK_FAKE_NVML_OLD);
	nvml_read(n, &r);
	assert_true(isnan(r.energy_j) && r.power_w == 350.5);
	/* The older name of the same function. */
	assert_int_equal(r.throttle_reasons, 4);
	nvml_close(n);
}

static void test_refusals(void **state)
{
	(void)state;
	struct nvml *n;
	struct error err;
	assert_int_equal(nvml_open(&n, "libnone-of-that-name.so.1", NULL, &err), ERROR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "libnone-of-that-name.so.1 not found"));
	assert_int_equal(nvml_open(&n, GEMMARK_FAKE_NVML, "00000000:01:00.0", &err), ERROR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "00000000:01:00.0"));
	assert_int_equal(nvml_open(&n, GEMMARK_FAKE_NVML, NULL, &err), ERROR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "2 GPUs"));
	script->init_result = 9;
	assert_int_equal(nvml_open(&n, GEMMARK_FAKE_NVML, FAKE_NVML_BUS_ID, &err), ERROR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "nvmlInit says 9"));
	assert_null(n);
	assert_int_equal(script->closed, 2); /* not where it did not start */
	script->init_result = 0;
	script->gpus = 1;
	assert_int_equal(nvml_open(&n, GEMMARK_FAKE_NVML, NULL, &err), 0);
	nvml_close(n);
}

static void test_reasons(void **state)
{
	(void)state;
	char text[COLUMN_TEXT_SIZE];
	assert_string_equal(throttle_reasons_text(-1, text), "");
	assert_string_equal(throttle_reasons_text(0, text), "none");
	assert_string_equal(throttle_reasons_text(0x4 | 0x40, text), "sw_power_cap+hw_thermal");
	assert_string_equal(throttle_reasons_text(0x8 | 0x1000, text), "hw_slowdown+0x1000");
	assert_true(strlen(throttle_reasons_text(INT64_MAX, text)) < COLUMN_TEXT_SIZE - 1);
}

/* ---- the thread ---- */

static void write_below(const char *path, const char *text)
{
	char full[256];
	snprintf(full, sizeof full, "%s/%s", folder, path);
	for (char *slash = strchr(full + strlen(folder) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(full, 0777) == 0 || errno == EEXIST);
		*slash = '/';
	}
	FILE *f = fopen(full, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static struct telemetry *open_telemetry(int gpu, int interval_ms)
{
	struct telemetry *t;
	struct error err;
	const struct telemetry_options o = {.interval_ms = interval_ms,
					    .gpu = gpu,
					    .pci_bus_id = FAKE_NVML_BUS_ID,
					    .library = GEMMARK_FAKE_NVML,
					    .root = folder};
	if (telemetry_open(&t, &o, &err))
		fail_msg("%s", err.text);
	return t;
}

/* Until the thread has looked once more; a busy machine may be late to start it. */
static void wait_for_look(int asked)
{
	for (int i = 0; i < 5000 && script->asked == asked; i++)
		usleep(1000);
	usleep(60000); /* the look itself */
}

/* Of each CPU that the test may run on. */
static void write_cpu_khz(int khz)
{
	for (int cpu = 0; cpu < CPU_SETSIZE && cpu < 256; cpu++) {
		char path[96], text[16];
		snprintf(path, sizeof path, "sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", cpu);
		snprintf(text, sizeof text, "%d\n", khz);
		write_below(path, text);
	}
}

/* A long interval: the looks are those at the measured phase's ends, and the thread's first one. */
static void test_conditions(void **state)
{
	(void)state;
	struct conditions c;
	int n, pages = 300;
	write_below("proc/loadavg", "1.25 0.7 0.5 2/300 4242\n");
	write_cpu_khz(3100000);
	struct telemetry *t = open_telemetry(1, 60000);
	struct monitor *m = telemetry_monitor(t);
	script->reasons = 4;
	int asked = script->asked;
	m->begin(m, 1);
	wait_for_look(asked); /* the thread's own; its clock is the first of the script */
	m->measure(m);
	/* Pages that are touched for the first time are faults, and sleeping is a switch. */
	char *p = mmap(NULL, (size_t)pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(p != MAP_FAILED);
	madvise(p, (size_t)pages * 4096, MADV_NOHUGEPAGE);
	for (int i = 0; i < pages; i++)
		p[i * 4096] = 1;
	for (int i = 0; i < 20; i++)
		usleep(100);
	m->end(m, &c);
	munmap(p, (size_t)pages * 4096);
	const struct telemetry_sample *s = telemetry_samples(t, &n);
	assert_int_equal(n, 3);
	assert_true(!s[0].measured && s[1].measured && s[2].measured);
	assert_true(s[0].time_us < s[1].time_us && s[1].time_us > 50000 && s[1].time_us < s[2].time_us);
	assert_int_equal(c.samples, 2);
	/* Looks 2 and 3 see 1980 and 1500. */
	assert_true(c.sm_clock_mhz == 1740 && c.memory_clock_mhz == 2619 && c.power_w == 350.5);
	assert_true(fabs(c.energy_j - 0.5) < 1e-9);
	assert_true(c.temperature_c == 61 && c.utilization == 97);
	assert_int_equal(c.throttle_reasons, 4);
	assert_true(c.cpu_mhz == 3100 && c.load_average == 1.25);
	assert_true(c.minor_faults >= pages);
#if !SANITIZED_THREAD /* whose shadow of the pages has faults of its own */
	assert_true(c.minor_faults < pages + 200);
#endif
	assert_true(c.context_switches >= 20 && c.context_switches < 60);
	assert_true(c.involuntary_switches >= 0 && c.major_faults >= 0);
	telemetry_close(t);
	assert_int_equal(script->closed, 1);
}

/* What the machine does in one look. */
struct scene {
	unsigned power_w, temperature, utilization;
	unsigned long long reasons;
	int cpu_mhz;
	const char *load;
};

static void play(const struct scene *s)
{
	script->power_mw = 1000 * s->power_w;
	script->temperature = s->temperature;
	script->utilization = s->utilization;
	script->reasons = s->reasons;
	write_cpu_khz(1000 * s->cpu_mhz);
	write_below("proc/loadavg", s->load);
}

/*
 * Every look sees another machine. Means, the highest, the last and any are told apart, and what was seen in the
 * warm-up counts for nothing. The phase's beginning is said twice: the second look stands for one of the thread's.
 */
static void test_changing(void **state)
{
	(void)state;
	static const struct scene warmup = {999, 90, 1, 0x40, 9000, "9 9 9 1/1 1\n"},
				  first = {200, 60, 10, 0x4, 1000, "1 5 5 1/1 1\n"},
				  middle = {210, 70, 30, 0x20, 1300, "2 6 6 1/1 1\n"},
				  last = {310, 65, 80, 0x4, 3100, "3 7 7 1/1 1\n"};
	struct conditions c;
	play(&warmup);
	struct telemetry *t = open_telemetry(1, 60000);
	struct monitor *m = telemetry_monitor(t);
	int asked = script->asked;
	m->begin(m, 1);
	wait_for_look(asked);
	play(&first);
	m->measure(m);
	play(&middle);
	m->measure(m);
	play(&last);
	m->end(m, &c);
	assert_int_equal(c.samples, 3);
	assert_true(c.sm_clock_mhz == 1500); /* median of 1980, 1500 and 1500 */
	assert_true(c.power_w == 240);       /* the mean; the median is 210 */
	assert_true(c.utilization == 40 && c.cpu_mhz == 1800);
	assert_true(c.temperature_c == 70);
	assert_int_equal(c.throttle_reasons, 0x24);
	assert_true(c.load_average == 3);
	assert_true(fabs(c.energy_j - 1) < 1e-9); /* half a joule from look to look */
	telemetry_close(t);
}

/* Looks in the warm-up of a later run are as little measured as in the first one's. */
static void test_warm_up_again(void **state)
{
	(void)state;
	struct conditions c;
	struct telemetry *t = open_telemetry(1, 2);
	struct monitor *m = telemetry_monitor(t);
	for (int run = 0; run < 3; run++) {
		int n, measured = 0;
		m->begin(m, 1);
		for (int i = 0; i < 3; i++)
			wait_for_look(script->asked);
		m->measure(m);
		m->end(m, &c);
		const struct telemetry_sample *s = telemetry_samples(t, &n);
		for (int i = 0; i < n; i++) {
			assert_true(!measured || s[i].measured);
			measured += s[i].measured;
		}
		assert_true(n - measured >= 3);
		assert_int_equal(measured, c.samples);
	}
	telemetry_close(t);
}

/* The thread's own waits are not the run's: it looks a hundred times while the run computes and never waits. */
static void test_own_switches(void **state)
{
	(void)state;
	enum { LOOKS = 100 };
	struct conditions c;
	struct telemetry *t = open_telemetry(1, 1);
	struct monitor *m = telemetry_monitor(t);
	m->begin(m, 1);
	m->measure(m);
	int reads = script->energy_reads;
	struct timespec from, now;
	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while (script->energy_reads - reads < LOOKS && now.tv_sec - from.tv_sec < 60);
	m->end(m, &c);
	assert_true(c.samples >= LOOKS);
	/* A look is a wait or more; the last one's are not known yet when the run ends. */
	assert_in_range(c.context_switches, 0, LOOKS / 4);
	telemetry_close(t);
}

/* The energy counter starts anew in the middle, as after a reset of the driver: it says nothing of that run. */
static void test_energy_reset(void **state)
{
	(void)state;
	struct conditions c;
	struct telemetry *t = open_telemetry(1, 60000);
	struct monitor *m = telemetry_monitor(t);
	for (int run = 0; run < 2; run++) {
		int asked = script->asked;
		m->begin(m, 1);
		if (!run) /* then an interval has to pass */
			wait_for_look(asked);
		script->energy_reset_at = run ? 0 : script->energy_reads + 2;
		m->measure(m);
		m->end(m, &c);
		assert_int_equal(isnan(c.energy_j), run == 0);
		assert_true(c.power_w == 350.5);
	}
	telemetry_close(t);
}

/* Often, on its own: as many looks as there were intervals, give or take a busy machine. */
static void test_interval(void **state)
{
	(void)state;
	struct conditions c;
	int n;
	struct telemetry *t = open_telemetry(1, 5);
	struct monitor *m = telemetry_monitor(t);
	m->begin(m, 1);
	m->measure(m);
	usleep(200000);
	m->end(m, &c);
	telemetry_samples(t, &n);
	assert_in_range(n, 8, 45);
	int asked = script->asked;
	/* Nothing is asked between runs. */
	usleep(30000);
	assert_int_equal(script->asked, asked);
	telemetry_close(t);
}

/* A run on the host alone has no GPU's clocks; a machine without files has unknown values. */
static void test_nothing_known(void **state)
{
	(void)state;
	struct conditions c;
	struct telemetry *t = open_telemetry(1, 60000);
	struct monitor *m = telemetry_monitor(t);
	m->begin(m, 0);
	assert_true(isnan(m->sm_clock(m)));
	m->measure(m);
	m->end(m, &c);
	assert_true(isnan(c.sm_clock_mhz) && isnan(c.power_w) && isnan(c.energy_j) && isnan(c.cpu_mhz));
	assert_true(isnan(c.load_average) && c.throttle_reasons < 0);
	assert_true(c.context_switches >= 0);
	assert_int_equal(script->asked, 0);
	telemetry_close(t);
	t = open_telemetry(0, 60000);
	telemetry_close(t);
	script->init_result = 9;
	t = open_telemetry(1, 60000);
	m = telemetry_monitor(t);
	m->begin(m, 1);
	m->measure(m);
	m->end(m, &c);
	assert_true(isnan(c.sm_clock_mhz) && c.throttle_reasons < 0);
	telemetry_close(t);
}

/* ---- recorded ---- */

struct sink {
	struct recorder *recorder;
	struct telemetry *telemetry;
};

static int take(void *ctx, const struct run_row *row, const struct token_record *tokens, int n, struct error *err)
{
	struct sink *s = ctx;
	int looks;
	const struct telemetry_sample *samples = telemetry_samples(s->telemetry, &looks);
	int rc = recorder_telemetry(s->recorder, row->run_id, samples, looks, err);
	return rc ? rc : recorder_run(s->recorder, row, tokens, n, err);
}

static int keep(void *ctx, const struct run_row *row, struct error *err)
{
	(void)ctx, (void)row, (void)err;
	return 0;
}

static void test_recorded(void **state)
{
	(void)state;
	char path[256];
	struct fake fake;
	struct runner_options o;
	struct runner_summary summary;
	struct sink s;
	struct csv_rows runs, looks;
	const struct cell cell = {
		.model = "m", .type_k = "f16", .type_v = "f16", .fusion = "full", .mode = "direct", .n_gen = 10};
	script->power = 0;
	fake_init(&fake);
	fake.gpu_layers = 3;
	runner_options_default(&o);
	o.repetitions = 3;
	o.clock = fake_clock;
	o.clock_ctx = &fake;
	s.telemetry = open_telemetry(1, 60000);
	o.monitor = telemetry_monitor(s.telemetry);
	snprintf(path, sizeof path, "%s/run", folder);
	assert_int_equal(recorder_open(&s.recorder, path, NULL), 0);
	const struct runner_sink sink = {.ctx = &s, .run = take};
	assert_int_equal(runner_run(&cell, 1, &fake.source, &o, &sink, &summary, NULL), 0);
	/* As a killed sweep leaves it: looks whose run has no row. */
	struct telemetry_sample lost = {.time_us = 1};
	assert_int_equal(recorder_telemetry(s.recorder, "lost", &lost, 1, NULL), 0);
	assert_int_equal(recorder_close(s.recorder, NULL), 0);
	telemetry_close(s.telemetry);

	snprintf(path, sizeof path, "%s/run/runs.csv", folder);
	assert_int_equal(csv_read(&runs, path), 0);
	snprintf(path, sizeof path, "%s/run/telemetry.csv", folder);
	assert_int_equal(csv_read(&looks, path), 0);
	assert_int_equal(runs.n_rows, 4);
	int at = 1;
	for (int r = 1; r < runs.n_rows; r++) {
		int measured = 0;
		assert_string_equal(csv_at(&runs, r, "power_w"), "");
		assert_string_equal(csv_at(&runs, r, "throttle_reasons"), "none");
		assert_true(strtod(csv_at(&runs, r, "sm_clock_mhz"), NULL) >= 1500);
		assert_true(*csv_at(&runs, r, "minor_faults"));
		for (; at < looks.n_rows && !strcmp(csv_at(&looks, at, "run_id"), csv_at(&runs, r, "run_id")); at++) {
			measured += !strcmp(csv_at(&looks, at, "phase"), "measure");
			assert_string_equal(csv_at(&looks, at, "power_w"), "");
			assert_true(strtod(csv_at(&looks, at, "energy_j"), NULL) > 1);
		}
		assert_int_equal(measured, atoi(csv_at(&runs, r, "telemetry_samples")));
		/* Before and behind the tokens; and the thread's own of the run, where a busy machine starts it late.
		 */
		assert_true(measured == 2 || measured == 3);
		/* Half a joule from look to look, over 10 tokens. */
		assert_string_equal(csv_at(&runs, r, "energy_per_token_j"), measured == 2 ? "0.05" : "0.1");
	}
	assert_string_equal(csv_at(&looks, looks.n_rows - 1, "run_id"), "lost");
	int rows = looks.n_rows;
	csv_rows_free(&runs);
	csv_rows_free(&looks);
	snprintf(path, sizeof path, "%s/run", folder);
	struct resume_dropped dropped;
	assert_int_equal(recorder_resume(&s.recorder, path, keep, NULL, &dropped, NULL), 0);
	assert_true(!dropped.damaged && !dropped.interrupted && dropped.lines == 1);
	assert_int_equal(recorder_close(s.recorder, NULL), 0);
	snprintf(path, sizeof path, "%s/run/telemetry.csv", folder);
	assert_int_equal(csv_read(&looks, path), 0);
	assert_int_equal(looks.n_rows, rows - 1);
	csv_rows_free(&looks);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reading),      TEST(test_unknown),  TEST(test_refusals),      TEST(test_reasons),
		TEST(test_conditions),   TEST(test_changing), TEST(test_warm_up_again), TEST(test_own_switches),
		TEST(test_energy_reset), TEST(test_interval), TEST(test_nothing_known), TEST(test_recorded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
