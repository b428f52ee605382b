/*
 * What a device's own calls cost, on the GPU and on the host: launches, captures, graphs and their updates, copies.
 *
 * Names: DEVICE/CALL/... with host: in them are times of the host's clock, of the call alone; the others are the
 * device's, by events. What the calls left behind is compared before they are timed.
 */
#ifndef GEMMARK_BENCH_DEVICE_BENCH_H
#define GEMMARK_BENCH_DEVICE_BENCH_H

/* cuda: the GPU's too. */
void device_bench_register(int cuda);
/* After the run: how many were wrong. */
int device_bench_close(void);

#endif
