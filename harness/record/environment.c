#include "harness/record/environment.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/text.h"
#include "harness/record/build_info.h"
#include "harness/record/json_word.h"

enum { PATH_SIZE = 512, LINE_SIZE = 512, MAX_NODES = 1024, MAX_CACHES = 16 };

static FILE *open_fact(const char *root, const char *path)
{
	char full[PATH_SIZE];
	int n = snprintf(full, sizeof full, "%s%s", root, path);
	return n > 0 && (size_t)n < sizeof full ? fopen(full, "re") : NULL;
}

/* The first line of a file, without its end. Returns 0 where there is none. */
static int read_line(const char *root, const char *path, char out[LINE_SIZE])
{
	FILE *f = open_fact(root, path);
	if (!f)
		return 0;
	int ok = fgets(out, LINE_SIZE, f) != NULL;
	fclose(f);
	if (ok)
		out[strcspn(out, "\n")] = '\0';
	return ok && *out;
}

/* "key : value" in a file such as /proc/cpuinfo: the first one's value. */
static int read_field(const char *root, const char *path, const char *key, char out[LINE_SIZE])
{
	FILE *f = open_fact(root, path);
	if (!f)
		return 0;
	char line[LINE_SIZE];
	size_t n = strlen(key);
	int found = 0;
	while (!found && fgets(line, sizeof line, f)) {
		char *colon = strchr(line, ':');
		if (!colon || strncmp(line, key, n) || line + n + strspn(line + n, " \t") != colon)
			continue;
		colon += 1 + strspn(colon + 1, " \t");
		colon[strcspn(colon, "\n")] = '\0';
		snprintf(out, LINE_SIZE, "%s", colon);
		found = 1;
	}
	fclose(f);
	return found && *out;
}

/* Text from the system need not be UTF-8, which JSON must be. */
static json_t *text_or_null(int known, const char *text)
{
	json_t *s = known ? json_string(text) : NULL;
	return s ? s : json_null();
}

/* A file's name, as all outputs have it. */
static json_t *file_name(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char text[3 * NAME_MAX + 1];
	return json_stringn(text, text_name(text, sizeof text, name, strlen(name)));
}

static json_t *line_or_null(const char *root, const char *path)
{
	char line[LINE_SIZE];
	int known = read_line(root, path, line);
	return text_or_null(known, line);
}

static json_t *field_or_null(const char *root, const char *path, const char *key)
{
	char line[LINE_SIZE];
	int known = read_field(root, path, key, line);
	return text_or_null(known, line);
}

/* "32768K", "2M" in bytes; 0: not a size */
static size_t parse_size(const char *text)
{
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (errno || end == text || n > SIZE_MAX >> 30)
		return 0;
	return (size_t)n * (*end == 'K' ? 1u << 10 : *end == 'M' ? 1u << 20 : *end == 'G' ? 1u << 30 : 1u);
}

size_t environment_cache_bytes(const char *root)
{
	size_t largest = 0;
	for (int i = 0; i < MAX_CACHES; i++) {
		char path[PATH_SIZE], line[LINE_SIZE];
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
		if (!read_line(root ? root : "", path, line))
			continue;
		size_t bytes = parse_size(line);
		largest = bytes > largest ? bytes : largest;
	}
	return largest;
}

int environment_cpus(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		return CPU_COUNT(&set);
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (int)n : 1;
}

static json_t *collect_caches(const char *root)
{
	json_t *list = json_array();
	for (int i = 0; i < MAX_CACHES; i++) {
		char path[PATH_SIZE], level[LINE_SIZE], type[LINE_SIZE], size[LINE_SIZE];
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", i);
		if (!read_line(root, path, level))
			break;
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", i);
		int has_type = read_line(root, path, type);
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
		size_t bytes = read_line(root, path, size) ? parse_size(size) : 0;
		snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/shared_cpu_list", i);
		json_array_append_new(list, json_pack("{s:i, s:o, s:o, s:o}", "level", atoi(level), "type",
						      text_or_null(has_type, type), "bytes",
						      bytes ? json_integer((json_int_t)bytes) : json_null(),
						      "shared_with_cpus", line_or_null(root, path)));
	}
	return list;
}

static json_t *collect_nodes(const char *root)
{
	json_t *list = json_array();
	for (int i = 0; i < MAX_NODES; i++) {
		char path[PATH_SIZE], cpus[LINE_SIZE];
		snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", i);
		if (!read_line(root, path, cpus))
			break;
		json_array_append_new(list, json_pack("{s:i, s:o}", "node", i, "cpus", text_or_null(1, cpus)));
	}
	return list;
}

/* Distinct (physical id, core id) pairs are cores; where the system shows none, null. */
static json_t *collect_cores(const char *root)
{
	FILE *f = open_fact(root, "/proc/cpuinfo");
	if (!f)
		return json_null();
	enum { MAX_CORES = 4096 };
	static_assert(MAX_CORES * sizeof(long long) <= 1 << 16, "on the stack");
	long long seen[MAX_CORES];
	int n = 0;
	long long package = -1;
	char line[LINE_SIZE];
	while (fgets(line, sizeof line, f)) {
		int id;
		if (sscanf(line, "physical id : %d", &id) == 1)
			package = id;
		if (sscanf(line, "core id : %d", &id) != 1 || n == MAX_CORES)
			continue;
		long long core = (package << 32) | (unsigned)id;
		int known = 0;
		for (int i = 0; i < n && !known; i++)
			known = seen[i] == core;
		if (!known)
			seen[n++] = core;
	}
	fclose(f);
	return n ? json_integer(n) : json_null();
}

static json_t *collect_memory(const char *root)
{
	json_t *memory = json_object();
	static const char *const keys[][2] = {{"MemTotal", "total_bytes"}, {"MemAvailable", "available_bytes"}};
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		char line[LINE_SIZE];
		unsigned long long kb;
		int known = read_field(root, "/proc/meminfo", keys[i][0], line) && sscanf(line, "%llu kB", &kb) == 1;
		json_object_set_new(memory, keys[i][1], known ? json_integer((json_int_t)(kb * 1024)) : json_null());
	}
	return memory;
}

static int exists(const char *root, const char *path)
{
	FILE *f = open_fact(root, path);
	if (f)
		fclose(f);
	return f != NULL;
}

/* What hints at a container; null where nothing does. */
static json_t *container_hint(const char *root)
{
	char line[LINE_SIZE];
	if (exists(root, "/.dockerenv"))
		return json_string("docker");
	if (exists(root, "/run/.containerenv"))
		return json_string("podman");
	if (read_line(root, "/run/systemd/container", line))
		return text_or_null(1, line);
	if (!read_line(root, "/proc/1/cgroup", line))
		return json_null();
	static const char *const marks[] = {"docker", "kubepods", "containerd", "lxc", "libpod"};
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (strstr(line, marks[i]))
			return json_string(marks[i]);
	return json_null();
}

static json_t *collect_cpu(const struct environment_inputs *in, const char *root)
{
	return json_pack("{s:o, s:o, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "model",
			 field_or_null(root, "/proc/cpuinfo", "model name"), "cores", collect_cores(root),
			 "logical_cpus", (int)sysconf(_SC_NPROCESSORS_ONLN), "available_cpus", environment_cpus(),
			 "isa", text_or_null(in->isa != NULL, in->isa), "governor",
			 line_or_null(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), "turbo_disabled",
			 line_or_null(root, "/sys/devices/system/cpu/intel_pstate/no_turbo"), "smt",
			 line_or_null(root, "/sys/devices/system/cpu/smt/active"), "caches", collect_caches(root),
			 "numa_nodes", collect_nodes(root));
}

static json_t *collect_bandwidth(const struct environment_inputs *in)
{
	json_t *list = json_array();
	for (int i = 0; i < in->n_bandwidth; i++) {
		double gb_s = in->bandwidth[i].bytes_s / 1e9;
		json_array_append_new(list, json_pack("{s:i, s:o}", "threads", in->bandwidth[i].n_threads, "read_gb_s",
						      gb_s > 0 ? json_real(gb_s) : json_null()));
	}
	return list;
}

static json_t *collect_system(const char *root)
{
	struct utsname u;
	int known = uname(&u) == 0;
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "name", text_or_null(known, u.sysname), "kernel",
			 text_or_null(known, u.release), "machine", text_or_null(known, u.machine), "host",
			 text_or_null(known, u.nodename), "container", container_hint(root));
}

static json_t *collect_build(void)
{
	const struct build_info *b = build_info();
	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s}", "version", b->version, "commit", b->commit, "dirty",
			 b->dirty < 0 ? json_null() : json_boolean(b->dirty), "compiler", b->compiler, "flags",
			 b->flags, "type", b->type);
}

static int collect_models(const struct environment_inputs *in, json_t *list, struct error *err)
{
	for (int i = 0; i < in->n_models; i++) {
		uint64_t hash = in->hashes ? in->hashes[i] : 0, bytes;
		struct stat s;
		if (hash && !stat(in->models[i], &s)) {
			bytes = (uint64_t)s.st_size;
		} else {
			int rc = hash_file(in->models[i], &hash, &bytes, err);
			if (rc)
				return rc;
		}
		char hex[20];
		snprintf(hex, sizeof hex, "%016" PRIx64, hash);
		json_array_append_new(list, json_pack("{s:o, s:I, s:s}", "file", file_name(in->models[i]), "bytes",
						      (json_int_t)bytes, "xxh3_64", hex));
	}
	return 0;
}

static json_t *collect_persistent(const struct environment_inputs *in)
{
	json_t *list = json_array();
	for (int i = 0; i < in->n_persistent; i++) {
		const struct environment_persistent *p = &in->persistent[i];
		json_t *of = json_pack("{s:o, s:s, s:s}", "model", file_name(p->model), "type_k", p->type_k, "type_v",
				       p->type_v);
		json_t *plan =
			p->reason
				? json_pack("{s:o}", "reason", text_or_null(1, p->reason))
				: json_pack(
					  "{s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:f, s:f, s:i, s:i, s:i, s:b, s:i, s:i, "
					  "s:i, s:b, s:I}",
					  "phases", p->phases, "blocks", p->blocks, "compute_warps", p->compute_warps,
					  "stages", p->stages, "stage_bytes", p->stage_bytes, "shared_bytes",
					  p->shared_bytes, "limits", p->limits, "in_flight", p->in_flight, "rate",
					  p->rate, "small_bytes", p->small_bytes, "wide_bytes", p->wide_bytes,
					  "first_bytes", p->first_bytes, "ahead_phases", p->ahead_phases,
					  "ahead_cycles", p->ahead_cycles, "stream_chunks", p->stream_chunks,
					  "slice_chunks", p->slice_chunks, "far_waits", p->far_waits, "tiled_bytes",
					  (json_int_t)p->tiled_bytes);
		json_object_update_new(of, plan);
		json_array_append_new(list, of);
	}
	return list;
}

static json_t *collect_gpu_memory(const struct environment_gpu_memory *m)
{
	if (m->reason)
		return json_pack("{s:o}", "reason", text_or_null(1, m->reason));
	return json_pack("{s:f, s:f, s:f}", "read_gb_s", m->bytes_s / 1e9, "bytes_per_cycle", m->bytes_cycle,
			 "latency_cycles", m->latency_cycles);
}

static json_t *collect_words(const struct environment_inputs *in)
{
	if (!in->command_line)
		return json_null();
	json_t *list = json_array();
	for (int i = 0; i < in->n_words; i++)
		json_array_append_new(list, json_word(in->command_line[i]));
	return list;
}

static json_t *collect_gpu(const struct environment_inputs *in, const char *root)
{
	const struct environment_gpu *g = in->gpu;
	if (!g)
		return json_null();
	char capability[16], cuda[16];
	snprintf(capability, sizeof capability, "%d.%d", g->compute_capability / 10, g->compute_capability % 10);
	snprintf(cuda, sizeof cuda, "%d.%d", g->cuda_version / 1000, g->cuda_version % 1000 / 10);
	return json_pack("{s:o, s:s, s:i, s:I, s:s, s:o, s:o, s:O, s:o}", "name", text_or_null(1, g->name),
			 "compute_capability", capability, "multiprocessors", g->n_sm, "memory_bytes",
			 (json_int_t)g->memory_bytes, "driver_cuda_version", cuda, "nvrtc_version",
			 text_or_null(g->nvrtc_version != NULL, g->nvrtc_version), "kernel_module",
			 line_or_null(root, "/proc/driver/nvidia/version"), "nvml", in->nvml ? in->nvml : json_null(),
			 "nvml_reason", text_or_null(in->nvml_reason && *in->nvml_reason, in->nvml_reason));
}

int environment_collect(const struct environment_inputs *in, json_t **out, struct error *err)
{
	const char *root = in->root ? in->root : "";
	*out = NULL;
	json_t *models = json_array();
	int rc = models ? collect_models(in, models, err) : error_set(err, ERROR_MEMORY, "no memory for env.json");
	if (rc) {
		json_decref(models);
		return rc;
	}
	/* json_pack takes what it is given with "o" also where it fails. */
	*out = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "schema_version", 1, "cpu",
			 collect_cpu(in, root), "memory", collect_memory(root), "bandwidth", collect_bandwidth(in),
			 "system", collect_system(root), "gpu", collect_gpu(in, root), "gpu_reason",
			 text_or_null(in->gpu_reason != NULL, in->gpu_reason), "build", collect_build(), "models",
			 models, "command_line", collect_words(in), "seed",
			 in->seed ? json_integer((json_int_t)*in->seed) : json_null());
	if (*out && ((in->gpu_memory && json_object_set_new(*out, "gpu_memory", collect_gpu_memory(in->gpu_memory))) ||
		     (in->n_persistent && json_object_set_new(*out, "persistent", collect_persistent(in))))) {
		json_decref(*out);
		*out = NULL;
	}
	return *out ? 0 : error_set(err, ERROR_MEMORY, "no memory for env.json");
}

static void print_scalar(const json_t *v, FILE *f)
{
	if (json_is_string(v)) {
		text_print(f, json_string_value(v));
	} else if (json_is_real(v)) {
		fprintf(f, "%.2f", json_real_value(v));
	} else if (json_is_integer(v)) {
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	} else {
		fputs(json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "unknown", f);
	}
}

/* Objects a line a member, items of a list a line each. What a list does not hold has no line. */
static void print_value(json_t *v, const char *name, FILE *f)
{
	const char *key;
	json_t *item;
	size_t i;
	if (json_is_object(v)) {
		json_object_foreach(v, key, item)
		{
			/* Of a sweep, which there is none of; why there is no GPU has its own line. */
			if (!*name && json_is_null(item))
				continue;
			char path[256];
			snprintf(path, sizeof path, "%s%s%s", name, *name ? " " : "", key);
			print_value(item, path, f);
		}
	} else if (json_is_array(v)) {
		json_array_foreach(v, i, item)
		{
			const char *separator = "";
			fprintf(f, "%s: ", name);
			json_t *member;
			json_object_foreach(item, key, member)
			{
				fprintf(f, "%s%s ", separator, key);
				print_scalar(member, f);
				separator = ", ";
			}
			if (!json_is_object(item))
				print_scalar(item, f);
			fputc('\n', f);
		}
	} else {
		fprintf(f, "%s: ", name);
		print_scalar(v, f);
		fputc('\n', f);
	}
}

void environment_print(const json_t *env, FILE *f)
{
	print_value((json_t *)env, "", f);
}
