#include "harness/measure/progress.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/terminal.h"

static double left(int64_t done, int64_t total, double seconds, int64_t timed)
{
	if (done >= total)
		return 0;
	return timed > 0 ? (double)(total - done) * seconds / (double)timed : NAN;
}

double progress_seconds_left(const struct runner_progress *p)
{
	return left(p->decode_done, p->decode_total, p->decode_s, p->decode_timed) +
	       left(p->prefill_done, p->prefill_total, p->prefill_s, p->prefill_timed) +
	       (double)p->delay_s * (p->runs - p->run);
}

void progress_text(const struct runner_progress *p, char *out, size_t size)
{
	char label[CELL_LABEL_SIZE] = "", eta[32] = "";
	double s = progress_seconds_left(p);
	if (p->cell)
		cell_label(p->cell, label);
	if (isnan(s))
		eta[0] = '\0';
	else if (s < 90)
		snprintf(eta, sizeof eta, ", %.0f s left", s);
	else if (s < 5400)
		snprintf(eta, sizeof eta, ", %.0f min left", s / 60);
	else
		snprintf(eta, sizeof eta, ", %.1f h left", s / 3600);
	snprintf(out, size, "[%d/%d] %s %s %s%s", p->run, p->runs, label, p->cell ? p->cell->mode : "",
		 p->cell ? p->cell->fusion : "", eta);
}

void progress_show(const struct runner_progress *p)
{
	if (!terminal_redraws(STDERR_FILENO))
		return;
	char line[160];
	progress_text(p, line, sizeof line);
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
}

void progress_print(const struct runner_progress *p)
{
	char line[160];
	progress_text(p, line, sizeof line);
	progress_clear();
	fprintf(stderr, "%s\n", line);
}

void progress_clear(void)
{
	if (!terminal_redraws(STDERR_FILENO))
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}
