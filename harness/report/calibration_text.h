/* What is known of the instrument, in words: what equal things showed here, and whether these runs are like those. */
#ifndef GEMMARK_HARNESS_REPORT_CALIBRATION_TEXT_H
#define GEMMARK_HARNESS_REPORT_CALIBRATION_TEXT_H

#include "harness/record/calibration.h"

enum { CALIBRATION_TEXT_SIZE = 480 };
/*
 * "calibrated here: 0 of 20 comparisons of equal things raised an alarm (95 %: 0 to 14 %)", or "not calibrated here:
 * ...". variation: of these runs as calibration has it, NAN: unknown. Where it is far more than the calibration's, that
 * is said.
 */
void calibration_text(const struct calibration *k, double variation, char out[CALIBRATION_TEXT_SIZE]);

#endif
