/*
 * What comparisons of equal things showed on a machine: how many raised an alarm, and how much its runs vary. Kept in
 * the user's state folder, a list for all machines, so that every comparison can say its own instrument's record.
 */
#ifndef GEMMARK_HARNESS_RECORD_CALIBRATION_H
#define GEMMARK_HARNESS_RECORD_CALIBRATION_H

#include <jansson.h>

#include "base/error.h"

enum { CALIBRATION_MACHINE_SIZE = 400, CALIBRATION_MAX = 1000 /* entries; the oldest go first */ };

struct calibration_entry {
	const char *machine; /* of calibration_machine */
	const char *commit;
	const char *from; /* what made it: "selftest", "compare" */
	int sweeps;       /* comparisons of equal things */
	int alarms;       /* of them, those in which a cell was called different */
	int cells;        /* of a comparison */
	int runs;         /* units a side */
	double variation; /* median over the cells of the standard deviation from unit to unit, relative */
	double variation_max;
};

/* All entries of one machine together. */
struct calibration {
	int entries; /* 0: not calibrated here */
	int sweeps;
	int alarms;
	int cells;        /* of the largest comparison */
	double variation; /* of the latest entry */
	double variation_max;
	char utc[32]; /* of the latest entry */
};

/* The machine that env.json describes: CPU, cores, GPU, its driver. "" where it describes none. */
void calibration_machine(const json_t *env, char out[CALIBRATION_MACHINE_SIZE]);

/*
 * path null: $XDG_STATE_HOME/gemmark/calibration.json, or under ~/.local/state. Without a file nothing is calibrated.
 * ERROR_INPUT where it is no calibration, or an entry of this machine is none that calibration_add writes.
 */
int calibration_read(const char *path, const char *machine, struct calibration *out, struct error *err);
/* Appends; folders are made. A file that is no calibration is left alone: ERROR_INPUT. ERROR_IO, ERROR_MEMORY. */
int calibration_add(const char *path, const struct calibration_entry *e, struct error *err);

#endif
