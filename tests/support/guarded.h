/*
 * A host device whose memory nothing else can touch: two of them stand for a GPU and a
 * host. What is allocated through one lies in pages that are closed but while a call of
 * that device runs, so that a transfer that is missing, or an address handed to the
 * wrong device, is a fault and not luck. Memory is all ones (NaN) until it is written, and
 * again when it is freed.
 */
#ifndef GEMMARK_TESTS_SUPPORT_GUARDED_H
#define GEMMARK_TESTS_SUPPORT_GUARDED_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/device/device.h"

/*
 * far: as a GPU is: its kernels do not read host memory, so that weights are uploaded, and it has mapped memory.
 * That has two addresses, each closed while the other side runs.
 */
int guarded_open(struct device **out, bool far, int n_threads, struct error *err);

/* Bytes that copies launched directly have moved between mapped memory and other memory of this device. */
size_t guarded_crossed(const struct device *d);

#endif
