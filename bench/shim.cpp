// The C++ half of bench/shim.h: nothing but calls to Google Benchmark.
#include "bench/shim.h"

#include <benchmark/benchmark.h>

// A bench_state is a benchmark::State that C code cannot look into.
static benchmark::State &unwrap(struct bench_state *s)
{
	return *reinterpret_cast<benchmark::State *>(s);
}

void bench_register(const char *name, void (*body)(struct bench_state *s, const void *arg), const void *arg)
{
	benchmark::RegisterBenchmark(
		name,
		[body, arg](benchmark::State &state) { body(reinterpret_cast<struct bench_state *>(&state), arg); })
		->UseRealTime()
		->Unit(benchmark::kMicrosecond);
}

void bench_register_timed(const char *name, void (*body)(struct bench_state *s, const void *arg), const void *arg)
{
	benchmark::RegisterBenchmark(
		name,
		[body, arg](benchmark::State &state) { body(reinterpret_cast<struct bench_state *>(&state), arg); })
		->UseManualTime()
		->Unit(benchmark::kMicrosecond);
}

void bench_fact(const char *name, const char *value)
{
	benchmark::AddCustomContext(name, value);
}

bool bench_keep_running_batch(struct bench_state *s, int n)
{
	return unwrap(s).KeepRunningBatch(n);
}

void bench_time(struct bench_state *s, double seconds)
{
	unwrap(s).SetIterationTime(seconds);
}

bool bench_keep_running(struct bench_state *s)
{
	return unwrap(s).KeepRunning();
}

void bench_rate(struct bench_state *s, const char *counter, double per_pass)
{
	unwrap(s).counters[counter] = benchmark::Counter(per_pass, benchmark::Counter::kIsIterationInvariantRate);
}

void bench_value(struct bench_state *s, const char *counter, double value)
{
	unwrap(s).counters[counter] = value;
}

void bench_skip(struct bench_state *s, const char *why)
{
	unwrap(s).SkipWithError(why);
}

void bench_label(struct bench_state *s, const char *text)
{
	unwrap(s).SetLabel(text);
}

int bench_options(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	return benchmark::ReportUnrecognizedArguments(argc, argv) ? -1 : 0;
}

int bench_run(void)
{
	const size_t n = benchmark::RunSpecifiedBenchmarks();
	benchmark::Shutdown();
	return static_cast<int>(n);
}
