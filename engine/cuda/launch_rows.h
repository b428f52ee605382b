/*
 * From the records that blocks leave (kernels/params_stamps.h) to when each multiprocessor had blocks of each launch.
 */
#ifndef GEMMARK_ENGINE_CUDA_LAUNCH_ROWS_H
#define GEMMARK_ENGINE_CUDA_LAUNCH_ROWS_H

#include "engine/device/device_ops.h"
#include "kernels/params_stamps.h"

/*
 * launches: (out->n_launches), in the order in which they ran; records: (n), in theirs. Fills the rest of out, which
 * its owner frees, also after a failure. ERROR_WRONG where the records are not those launches'.
 */
int launch_rows(struct device_stamps *out, const struct device_launched *launches, const struct block_stamp *records,
		size_t n, struct error *err);

#endif
