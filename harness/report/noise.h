/* How much the runs of one cell differ, over cells: the middle one and the noisiest. */
#ifndef GEMMARK_HARNESS_REPORT_NOISE_H
#define GEMMARK_HARNESS_REPORT_NOISE_H

struct noise {
	double *spreads; /* (n): each cell's MAD as a share of its median */
	int n;
	int noisiest; /* the place of the cell that has the most */
	double most;
};

/* Room for so many cells. 0, or -1: no memory. */
int noise_init(struct noise *s, int n_cells);
/* The cell at a place, with its number of runs; nothing of fewer than two, or of a median that is none. */
void noise_add(struct noise *s, int place, int runs, double mad, double median);
/* The median of the spreads. */
double noise_middle(const struct noise *s);
void noise_free(struct noise *s);

#endif
