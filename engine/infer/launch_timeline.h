/* A token's launches as its timeline. Internal to the engine. */
#ifndef GEMMARK_ENGINE_INFER_LAUNCH_TIMELINE_H
#define GEMMARK_ENGINE_INFER_LAUNCH_TIMELINE_H

#include "engine/device/device.h"
#include "engine/infer/session.h"

/*
 * d: (n_rows, n_launches); its labels are those of struct phase_label. A row of *t is a multiprocessor, and a phase a
 * launch; phases of a row do not overlap, and one without a part of a launch waits until the next one has its input.
 * The caller frees *t, also after ERROR_MEMORY.
 */
int launch_timeline(struct token_timeline *t, const struct device_stamps *d, struct error *err);

#endif
