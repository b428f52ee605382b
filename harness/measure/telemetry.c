#include "harness/measure/telemetry.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "harness/measure/nvml.h"
#include "harness/stats/stats.h"
#include "harness/stats/stats_estimate.h"

enum { SAMPLES_MAX = 1 << 14, PATH_SIZE = 512 }; /* 27 minutes at 100 ms; a longer run is looked at no further */

/* What this process has cost so far. */
struct usage {
	int64_t switches, involuntary, minor, major;
};

struct telemetry {
	struct monitor base; /* first: what the runner holds */
	struct telemetry_options options;
	struct nvml *nvml; /* null: none */
	pthread_t thread;
	int has_thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake;
	int stop;
	int active;   /* a run is being looked at */
	int measured; /* in its measured phase */
	int on_gpu;
	int cpu;    /* that the phase began on */
	int cpu_fd; /* its frequency; negative: Linux does not say */
	int64_t begin_ns;
	struct usage own;                 /* the thread's, when it looked last */
	struct usage from;                /* the process's when the phase began, without the thread's */
	struct telemetry_sample *samples; /* (SAMPLES_MAX) */
	double *scratch;                  /* (SAMPLES_MAX) */
	int n;
};

static struct telemetry *of(struct monitor *m)
{
	return (struct telemetry *)m;
}

void conditions_init(struct conditions *c)
{
	*c = (struct conditions){NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, -1, -1, -1, -1, -1, -1};
}

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct usage usage_of(int who)
{
	struct rusage r = {0};
	getrusage(who, &r); /* cannot fail for these two */
	return (struct usage){r.ru_nvcsw, r.ru_nivcsw, r.ru_minflt, r.ru_majflt};
}

/* Not below zero: the thread's own count is a wait or two behind. */
static int64_t gained(int64_t from, int64_t to)
{
	return to > from ? to - from : 0;
}

static struct usage without(struct usage a, struct usage b)
{
	return (struct usage){gained(b.switches, a.switches), gained(b.involuntary, a.involuntary),
			      gained(b.minor, a.minor), gained(b.major, a.major)};
}

/* ---- looking ---- */

static double read_khz(int fd)
{
	char text[32];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
	if (n <= 0)
		return NAN;
	text[n] = '\0';
	char *end;
	double khz = strtod(text, &end);
	return end == text || !(khz > 0) ? NAN : khz / 1e3;
}

/* getloadavg, below root. */
static double read_load(const struct telemetry *t)
{
	char path[PATH_SIZE], text[64];
	snprintf(path, sizeof path, "%s/proc/loadavg", t->options.root);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return NAN;
	text[n] = '\0';
	char *end;
	double load = strtod(text, &end);
	return end == text ? NAN : load;
}

/* With the lock held. */
static void look(struct telemetry *t)
{
	if (t->n == SAMPLES_MAX)
		return;
	struct telemetry_sample *s = &t->samples[t->n++];
	s->measured = t->measured;
	if (t->nvml && t->on_gpu)
		nvml_read(t->nvml, &s->gpu);
	else
		gpu_reading_init(&s->gpu);
	s->cpu_mhz = read_khz(t->cpu_fd);
	s->load_average = read_load(t);
	s->time_us = (double)(now_ns(CLOCK_MONOTONIC_RAW) - t->begin_ns) / 1e3;
}

static void *watch(void *ctx)
{
	struct telemetry *t = ctx;
	int64_t next = 0;
	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		if (!t->active) {
			pthread_cond_wait(&t->wake, &t->lock);
			next = now_ns(CLOCK_MONOTONIC);
			continue;
		}
		int64_t now = now_ns(CLOCK_MONOTONIC), interval = (int64_t)t->options.interval_ms * 1000000;
		if (now < next) {
			struct timespec at = {.tv_sec = next / 1000000000, .tv_nsec = next % 1000000000};
			pthread_cond_timedwait(&t->wake, &t->lock, &at);
			continue;
		}
		look(t);
		t->own = usage_of(RUSAGE_THREAD);
		next = next + interval > now ? next + interval : now + interval;
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* ---- the runner's side ---- */

static void open_cpu(struct telemetry *t)
{
	char path[PATH_SIZE];
	int cpu = sched_getcpu();
	if (cpu == t->cpu)
		return;
	if (t->cpu_fd >= 0)
		close(t->cpu_fd);
	snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", t->options.root, cpu);
	t->cpu = cpu;
	t->cpu_fd = cpu < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
}

static void begin(struct monitor *m, int on_gpu)
{
	struct telemetry *t = of(m);
	pthread_mutex_lock(&t->lock);
	open_cpu(t);
	t->n = 0;
	t->measured = 0;
	t->on_gpu = on_gpu;
	t->begin_ns = now_ns(CLOCK_MONOTONIC_RAW);
	t->active = 1;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

static void measure(struct monitor *m)
{
	struct telemetry *t = of(m);
	pthread_mutex_lock(&t->lock);
	open_cpu(t);
	t->measured = 1;
	look(t);
	t->from = without(usage_of(RUSAGE_SELF), t->own);
	pthread_mutex_unlock(&t->lock);
}

/* A member of the measured samples, those that are known, into scratch; returns how many. */
static int gather(struct telemetry *t, size_t offset)
{
	int n = 0;
	for (int i = 0; i < t->n; i++) {
		double x;
		memcpy(&x, (const char *)&t->samples[i] + offset, sizeof x);
		if (t->samples[i].measured && !isnan(x))
			t->scratch[n++] = x;
	}
	return n;
}

#define GATHER(t, member) gather(t, offsetof(struct telemetry_sample, member))

static double median_of(struct telemetry *t, int n)
{
	return n ? stats_median(t->scratch, n) : NAN;
}

/* A counter's gain; a counter that was reset on the way says nothing. */
static double gain(const double *x, int n)
{
	for (int i = 1; i < n; i++)
		if (x[i] < x[i - 1])
			return NAN;
	return n > 1 ? x[n - 1] - x[0] : NAN;
}

static int64_t all_reasons(const struct telemetry *t)
{
	int64_t bits = -1;
	for (int i = 0; i < t->n; i++) {
		int64_t here = t->samples[i].gpu.throttle_reasons;
		if (t->samples[i].measured && here >= 0)
			bits = bits < 0 ? here : bits | here;
	}
	return bits;
}

/* Where there is no cpufreq, as in most virtual machines: /proc/cpuinfo, which is too slow for every look. */
static double slow_cpu_mhz(const struct telemetry *t)
{
	char path[PATH_SIZE], line[256];
	snprintf(path, sizeof path, "%s/proc/cpuinfo", t->options.root);
	FILE *f = fopen(path, "re");
	double mhz = NAN, x;
	int at = -1, cpu;
	while (f && isnan(mhz) && fgets(line, sizeof line, f)) {
		if (sscanf(line, "processor : %d", &cpu) == 1)
			at = cpu;
		if (at == t->cpu && sscanf(line, "cpu MHz : %lf", &x) == 1 && x > 0)
			mhz = x;
	}
	if (f)
		fclose(f);
	return mhz;
}

static void summarise(struct telemetry *t, struct conditions *out)
{
	int n;
	out->sm_clock_mhz = median_of(t, GATHER(t, gpu.sm_clock_mhz));
	out->memory_clock_mhz = median_of(t, GATHER(t, gpu.memory_clock_mhz));
	out->power_w = stats_mean(t->scratch, GATHER(t, gpu.power_w));
	n = GATHER(t, gpu.energy_j);
	out->energy_j = gain(t->scratch, n);
	n = GATHER(t, gpu.temperature_c);
	for (int i = 0; i < n; i++)
		out->temperature_c = fmax(out->temperature_c, t->scratch[i]);
	out->utilization = stats_mean(t->scratch, GATHER(t, gpu.utilization));
	out->throttle_reasons = all_reasons(t);
	out->cpu_mhz = stats_mean(t->scratch, GATHER(t, cpu_mhz));
	n = GATHER(t, load_average);
	out->load_average = n ? t->scratch[n - 1] : NAN;
	out->samples = 0;
	for (int i = 0; i < t->n; i++)
		out->samples += t->samples[i].measured;
}

static void end(struct monitor *m, struct conditions *out)
{
	struct telemetry *t = of(m);
	conditions_init(out);
	struct usage now = usage_of(RUSAGE_SELF);
	pthread_mutex_lock(&t->lock);
	now = without(now, t->own);
	look(t);
	t->active = 0;
	struct usage used = without(now, t->from);
	out->context_switches = used.switches;
	out->involuntary_switches = used.involuntary;
	out->minor_faults = used.minor;
	out->major_faults = used.major;
	summarise(t, out);
	if (isnan(out->cpu_mhz))
		out->cpu_mhz = slow_cpu_mhz(t);
	pthread_mutex_unlock(&t->lock);
}

static double sm_clock(struct monitor *m)
{
	struct telemetry *t = of(m);
	struct gpu_reading r;
	if (!t->nvml || !t->on_gpu)
		return NAN;
	pthread_mutex_lock(&t->lock);
	nvml_read(t->nvml, &r);
	pthread_mutex_unlock(&t->lock);
	return r.sm_clock_mhz;
}

/* ---- opening ---- */

static int start_thread(struct telemetry *t, struct error *err)
{
	pthread_condattr_t attributes;
	sigset_t all, before;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	/* Signals are the measuring thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int result = pthread_create(&t->thread, NULL, watch, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	t->has_thread = !result;
	return result ? error_set(err, ERROR_IO, "telemetry: no thread: %s; --telemetry 0 does without",
				  strerror(result))
		      : 0;
}

int telemetry_open(struct telemetry **out, const struct telemetry_options *o, struct error *err)
{
	struct telemetry *t = calloc(1, sizeof *t);
	*out = t;
	if (!t)
		return error_set(err, ERROR_MEMORY, "no memory for telemetry");
	t->base = (struct monitor){begin, measure, end, sm_clock};
	t->options = *o;
	t->options.root = o->root ? o->root : "";
	t->cpu = t->cpu_fd = -1;
	t->samples = calloc(SAMPLES_MAX, sizeof *t->samples);
	t->scratch = calloc(SAMPLES_MAX, sizeof *t->scratch);
	int rc = 0;
	if (!t->samples || !t->scratch)
		rc = error_set(err, ERROR_MEMORY, "no memory for %d looks at the machine", SAMPLES_MAX);
	if (!rc && o->gpu)
		nvml_open(&t->nvml, o->library, o->pci_bus_id, NULL);
	if (!rc)
		rc = start_thread(t, err);
	if (rc) {
		telemetry_close(t);
		*out = NULL;
	}
	return rc;
}

void telemetry_close(struct telemetry *t)
{
	if (!t)
		return;
	if (t->has_thread) {
		pthread_mutex_lock(&t->lock);
		t->stop = 1;
		pthread_cond_signal(&t->wake);
		pthread_mutex_unlock(&t->lock);
		pthread_join(t->thread, NULL);
		pthread_cond_destroy(&t->wake);
		pthread_mutex_destroy(&t->lock);
	}
	nvml_close(t->nvml);
	if (t->cpu_fd >= 0)
		close(t->cpu_fd);
	free(t->samples);
	free(t->scratch);
	free(t);
}

struct monitor *telemetry_monitor(struct telemetry *t)
{
	return &t->base;
}

const struct telemetry_sample *telemetry_samples(struct telemetry *t, int *n)
{
	pthread_mutex_lock(&t->lock);
	t->active = 0; /* a run that failed did not end */
	*n = t->n;
	pthread_mutex_unlock(&t->lock);
	return t->samples;
}
