/*
 * sweep.json: what a sweep was asked to do. It is what a resumed sweep must agree with,
 * together with env.json: rows of one directory are of one matrix and one environment.
 */
#ifndef GEMMARK_HARNESS_RECORD_SWEEP_FILE_H
#define GEMMARK_HARNESS_RECORD_SWEEP_FILE_H

#include <jansson.h>

#include "base/error.h"
#include "harness/record/run_directory.h"
#include "harness/sweep/matrix.h"

/* The axes' values. The caller owns *out, and adds the options that rows depend on. */
int sweep_describe(const struct matrix *m, json_t **out, struct error *err);

/*
 * Compares the directory's sweep.json and env.json with these. ERROR_INPUT with the
 * first differences ("n_depth: [0,512] there, [0,1024] here"), or as
 * run_directory_load_json fails. What changes between two looks at one machine is left out:
 * available memory, measured bandwidths, the command line, clocks and temperatures.
 */
int sweep_check(const struct run_directory *d, const json_t *sweep, const json_t *env, struct error *err);

/*
 * Whether two shards' sweep.json are of one matrix, divided alike, with the same options: ERROR_INPUT with the first
 * differences. Left out are which shard each is, the paths of the models, whose contents env.json has, and the memory
 * of the GPU that each planned for.
 */
int sweep_same_division(const char *first_path, const json_t *first, const char *path, const json_t *sweep,
			struct error *err);

/*
 * At a sweep's end: writes what is gone of the two again, and compares what is there as sweep_check does. *written:
 * how many were gone. ERROR_INPUT, ERROR_IO.
 */
int sweep_keep(const struct run_directory *d, const json_t *sweep, const json_t *env, int *written, struct error *err);

#endif
