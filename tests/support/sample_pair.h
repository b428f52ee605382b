/* The choice of a token on two devices, right ones and ones with a fault planted: the host then gets something else. */
#ifndef GEMMARK_TESTS_SUPPORT_SAMPLE_PAIR_H
#define GEMMARK_TESTS_SUPPORT_SAMPLE_PAIR_H

#include <stdbool.h>

#include "bench/pair.h"
#include "engine/device/device.h"

/*
 * Logits of a kind and options of sample_case.h: one launch each, and the same token. Whether position and settings are
 * in memory of the device.
 */
void sample_pair(struct pair *p, int n, int kind, int options, int pos, bool step_on_device, bool settings_on_device);

/* The same of a row with, by `what`: a NaN, a +infinity, only -infinities, one NaN among these. */
void sample_pair_wrong(struct pair *p, int n, int what, int options);

enum sample_fault {
	SAMPLE_RIGHT,
	SAMPLE_K_OFF,     /* a token more is in */
	SAMPLE_P_OFF,     /* the one that reaches the share is not */
	SAMPLE_MIN_OFF,   /* the lightest that is in is not */
	SAMPLE_POS_OFF,   /* the next position's number */
	SAMPLE_SEED_HIGH, /* a bit of the seed's upper half */
	SAMPLE_TIES,      /* go to the higher id: the last two logits of equal ones change places */
	SAMPLE_FAULTS,
};
/* At a position where it makes a difference. */
void sample_pair_planted(struct pair *p, enum sample_fault fault);

/*
 * One graph of several choices behind each other, replayed with other settings and positions in memory of the device:
 * fails the running test where a token is not the host's.
 */
void sample_replayed(struct device *d);

#endif
