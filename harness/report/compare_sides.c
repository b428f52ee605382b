#include "harness/report/compare_sides.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/sweep/axis.h"

struct named {
	dev_t device;
	ino_t inode;
	int place; /* in base, then in head */
};

static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	return x->place - y->place;
}

int compare_sides_distinct(struct result_set *const *base, int n_base, struct result_set *const *head, int n_head,
			   struct error *err)
{
	struct named *all = calloc((size_t)(n_base + n_head) + 1, sizeof *all);
	int n = 0, rc = all ? 0 : error_set(err, ERROR_MEMORY, "no memory for the comparison");
	for (int i = 0; i < n_base + n_head && !rc; i++) {
		struct stat s;
		/* A file system that does not say leaves the directory to the caller. */
		if (!fstat((i < n_base ? base[i] : head[i - n_base])->directory.fd, &s))
			all[n++] = (struct named){s.st_dev, s.st_ino, i};
	}
	if (!rc)
		qsort(all, (size_t)n, sizeof *all, compare_named);
	for (int i = 1; i < n && !rc; i++) {
		int a = all[i - 1].place, b = all[i].place;
		const char *path = (b < n_base ? base[b] : head[b - n_base])->directory.path;
		if (all[i].device != all[i - 1].device || all[i].inode != all[i - 1].inode)
			continue;
		rc = a < n_base && b >= n_base
			     ? error_set(err, ERROR_INPUT,
					 "%s: is both base and head, and equals itself; name two measurements", path)
			     : error_set(err, ERROR_INPUT,
					 "%s: is named twice in %s, and would count twice; name it once", path,
					 b < n_base ? "base" : "head");
	}
	free(all);
	return rc;
}

int compare_sides_several_values(const struct result_set *s, const struct cell *first, const struct cell *second,
				 unsigned across, struct error *err)
{
	for (int a = 0; a < AXIS_COUNT; a++) {
		char one[AXIS_TEXT_SIZE], other[AXIS_TEXT_SIZE];
		if (!(across >> a & 1) || cell_same_value(first, second, (enum axis_id)a))
			continue;
		const char *option = strstr(axes[a].option, "--");
		return error_set(
			err, ERROR_INPUT,
			"%s: has %s %.40s and %.40s, and compared across %s a side has one; measure each into a "
			"directory of its own, as with gemmark bench %s %.40s --out DIR",
			s->directory.path, axes[a].spoken, cell_text(first, (enum axis_id)a, one),
			cell_text(second, (enum axis_id)a, other), axes[a].name, option,
			cell_text(first, (enum axis_id)a, one));
	}
	return error_set(err, ERROR_INPUT, "%s: has a cell twice; measure it once", s->directory.path);
}
