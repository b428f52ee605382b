#include "harness/report/calibration_text.h"

#include <math.h>
#include <stdio.h>

#include "harness/stats/stats_distribution.h"

/* Standard deviations of a dozen runs differ by less. */
static const double NOISIER = 1.5;

void calibration_text(const struct calibration *k, double variation, char out[CALIBRATION_TEXT_SIZE])
{
	double low, high;
	if (!k || !k->entries) {
		snprintf(out, CALIBRATION_TEXT_SIZE,
			 "not calibrated here: how often this machine sees changes that are none is not known "
			 "(gemmark compare --calibrate of two measurements of one commit, or gemmark selftest --aa -m "
			 "MODEL)");
		return;
	}
	stats_binomial_interval(k->alarms, k->sweeps, 0.95, &low, &high);
	int used = snprintf(
		out, CALIBRATION_TEXT_SIZE,
		"calibrated here: %d of %d comparisons of equal things raised an alarm (95 %%: %.2g to %.2g %%); from "
		"unit to unit a cell varies by %.2g %% (median), %.2g %% (most); last %.20s",
		k->alarms, k->sweeps, 100 * low, 100 * high, 100 * k->variation, 100 * k->variation_max, k->utc);
	if (!(variation > NOISIER * k->variation))
		return;
	char times[48] = "";
	if (k->variation > 0)
		snprintf(times, sizeof times, ", %.3g times as much", variation / k->variation);
	snprintf(out + used, CALIBRATION_TEXT_SIZE - (size_t)used,
		 "; these runs are noisier: by %.2g %% (median)%s, and of such the calibration says nothing",
		 100 * variation, times);
}
