/* Draws the progress bar; progress_line is apart so that it can be tested without a terminal. */
#include "harness/cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/terminal.h"

enum { BAR = 12 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_start(struct progress *p, const char *label)
{
	*p = (struct progress){.label = label, .start = now(), .drawn = -1, .visible = terminal_redraws(STDERR_FILENO)};
}

double progress_seconds(const struct progress *p)
{
	return now() - p->start;
}

void progress_line(char line[PROGRESS_LINE_BYTES], const char *label, uint64_t done, uint64_t total, double seconds)
{
	double part = total ? (double)done / (double)total : 1;
	double rate = seconds > 0 ? (double)done / seconds : 0;
	char bar[BAR + 1], left[32] = "";
	for (int i = 0; i < BAR; i++)
		bar[i] = (i + 1) <= part * BAR ? '#' : '.';
	bar[BAR] = 0;
	/* A rate over less than half a second says little about the rest. */
	if (rate > 0 && seconds > 0.5) {
		double rest = (double)(total - done) / rate;
		int whole = rest < 359999 ? (int)(rest + 0.5) : 359999;
		if (whole < 3600)
			snprintf(left, sizeof left, "  %d:%02d left", whole / 60, whole % 60);
		else
			snprintf(left, sizeof left, "  %d:%02d:%02d left", whole / 3600, whole / 60 % 60, whole % 60);
	}
	snprintf(line, PROGRESS_LINE_BYTES, "%.40s [%s] %3d%%  %.1f of %.1f GB  %.0f MB/s%s", label, bar,
		 (int)(100 * part), (double)done / 1e9, (double)total / 1e9, rate / 1e6, left);
}

void progress_update(struct progress *p, uint64_t done, uint64_t total)
{
	double t = now();
	if (!p->visible || (p->drawn >= 0 && t - p->drawn < 0.1))
		return;
	p->drawn = t;
	char line[PROGRESS_LINE_BYTES];
	progress_line(line, p->label, done, total, t - p->start);
	/* \r: to the start of the line; \033[K: clear to its end. */
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->visible && p->drawn >= 0) {
		fprintf(stderr, "\r\033[K");
		fflush(stderr);
	}
	p->visible = false;
}
