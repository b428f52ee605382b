#include "harness/record/resume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/record/result_set.h"

/* What stays of a file: ranges (n) in its order, the header first. */
struct rest {
	const char *name;
	struct csv_range *ranges;
	size_t n;
};

static int io_failed(const struct run_directory *d, const char *name, struct error *err)
{
	return error_set(err, ERROR_IO, "%s/%s: %s; it cannot be resumed", d->path, name, strerror(errno));
}

/* A new file of what stays in the place of the old one. */
static int rewrite(const struct run_directory *d, const struct rest *rest, int fd, struct error *err)
{
	struct run_file f;
	int rc = run_file_open(&f, d, rest->name, err);
	for (size_t i = 0; i < rest->n && !rc; i++)
		if (csv_range_copy(fd, &rest->ranges[i], f.stream))
			rc = io_failed(d, rest->name, err);
	if (!rc)
		return run_file_commit(&f, 1, err);
	run_file_discard(&f);
	return rc;
}

/* Leaves the file with what stays of it. */
static int apply(const struct run_directory *d, const struct rest *rest, struct error *err)
{
	struct stat s;
	off_t end = 0;
	int fd = run_directory_open_file(d, rest->name, O_RDWR, err);
	if (fd < 0)
		return fd;
	char last = '\n';
	size_t first = 0;
	while (first < rest->n && rest->ranges[first].at == end)
		end = rest->ranges[first++].end;
	int rc = 0;
	if (fstat(fd, &s) || (end && pread(fd, &last, 1, end - 1) != 1))
		rc = io_failed(d, rest->name, err);
	else if (first < rest->n || last != '\n')
		rc = rewrite(d, rest, fd, err);
	/* Forced to the disk in any case: a process that was killed may not have come to that. */
	else if ((s.st_size != end && ftruncate(fd, end)) || (fsync(fd) && errno != EINVAL))
		rc = io_failed(d, rest->name, err);
	close(fd);
	return rc;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct csv_range *x = a, *y = b;
	return x->at < y->at ? -1 : x->at > y->at;
}

static int no_memory(const struct run_directory *d, struct error *err)
{
	return error_set(err, ERROR_MEMORY, "%s: not enough memory to resume it", d->path);
}

/* The ranges of a detail file whose runs stay. */
static int rest_of_details(const struct result_set *s, const struct detail_file *f, const unsigned char *stays,
			   struct rest *out, struct error *err)
{
	out->ranges = calloc(f->n_ranges + 1, sizeof *out->ranges);
	if (!out->ranges)
		return no_memory(&s->directory, err);
	out->ranges[out->n++] = f->header;
	for (size_t i = 0; i < f->n_ranges; i++)
		if (stays[f->ranges[i].run])
			out->ranges[out->n++] = f->ranges[i].range;
	qsort(out->ranges, out->n, sizeof *out->ranges, compare_ranges);
	return 0;
}

static int rest_of_runs(const struct result_set *s, const unsigned char *stays, struct rest *out, struct error *err)
{
	out->ranges = calloc(s->n_rows + 1, sizeof *out->ranges);
	if (!out->ranges)
		return no_memory(&s->directory, err);
	out->ranges[out->n++] = s->header;
	for (size_t i = 0; i < s->n_rows; i++)
		if (stays[i])
			out->ranges[out->n++] = s->ranges[i];
	return 0;
}

static int check_timeline(struct result_set *s, size_t row, struct error *err)
{
	struct timeline_stamp *stamps;
	size_t n;
	int rc = result_set_timeline(s, row, &stamps, &n, err);
	free(stamps);
	return rc;
}

static int choose(struct result_set *s, unsigned char *stays, struct resume_dropped *dropped, struct error *err)
{
	for (size_t i = 0; i < s->n_rows; i++) {
		struct error why = {""};
		if (s->rows[i].status == RUN_STATUS_INTERRUPTED) {
			dropped->interrupted++;
			continue;
		}
		int rc = result_set_check_tokens(s, i, &why);
		if (!rc)
			rc = result_set_check_telemetry(s, i, &why);
		if (!rc)
			rc = check_timeline(s, i, &why);
		if (rc && rc != ERROR_INPUT)
			return error_set(err, rc, "%s", why.text);
		stays[i] = !rc;
		if (rc && !dropped->damaged++)
			snprintf(dropped->why, sizeof dropped->why, "%s", why.text);
	}
	dropped->lines = s->tokens.n_others + s->telemetry.n_others + s->timeline.n_others +
			 (size_t)(s->cut + s->tokens.cut + s->telemetry.cut + s->timeline.cut);
	return 0;
}

/* Nothing is taken from a file that is not ours. */
static int check_columns(const struct result_set *s, struct error *err)
{
	const char *other = !s->same                                           ? "runs.csv"
			    : !s->tokens.columns.same                          ? "tokens.csv"
			    : !s->telemetry.columns.same                       ? "telemetry.csv"
			    : s->timeline.fd >= 0 && !s->timeline.columns.same ? "timeline.csv"
									       : NULL;
	if (!other)
		return 0;
	return error_set(err, ERROR_INPUT,
			 "%s/%s: its columns are not this version's; go on with the version that wrote it",
			 s->directory.path, other);
}

int resume_directory(const struct run_directory *d,
		     int (*keep)(void *ctx, const struct run_row *row, struct error *err), void *ctx,
		     struct resume_dropped *dropped, struct error *err)
{
	struct result_set s;
	struct rest rests[4] = {
		{.name = "runs.csv"}, {.name = "tokens.csv"}, {.name = "telemetry.csv"}, {.name = "timeline.csv"}};
	unsigned char *stays = NULL;
	*dropped = (struct resume_dropped){0};
	int rc = result_set_read(&s, d, err);
	if (!rc)
		rc = result_set_open_tokens(&s, err);
	if (!rc)
		rc = result_set_open_telemetry(&s, err);
	if (!rc)
		rc = result_set_open_timeline(&s, err);
	if (!rc)
		rc = check_columns(&s, err);
	if (!rc && !(stays = calloc(s.n_rows + 1, 1)))
		rc = no_memory(d, err);
	if (!rc)
		rc = choose(&s, stays, dropped, err);
	for (size_t i = 0; i < s.n_rows && !rc; i++)
		if (stays[i])
			rc = keep(ctx, &s.rows[i], err);
	if (!rc)
		rc = rest_of_runs(&s, stays, &rests[0], err);
	if (!rc)
		rc = rest_of_details(&s, &s.tokens, stays, &rests[1], err);
	if (!rc)
		rc = rest_of_details(&s, &s.telemetry, stays, &rests[2], err);
	int n_files = s.timeline.fd < 0 ? 3 : 4;
	if (!rc && n_files == 4)
		rc = rest_of_details(&s, &s.timeline, stays, &rests[3], err);
	for (int i = 0; i < n_files && !rc; i++)
		rc = apply(d, &rests[i], err);
	/* The next time stamps make it. */
	if (!rc && n_files == 3 && unlinkat(d->fd, rests[3].name, 0) && errno != ENOENT)
		rc = io_failed(d, rests[3].name, err);
	for (int i = 0; i < n_files; i++)
		free(rests[i].ranges);
	free(stays);
	result_set_close(&s);
	return rc;
}

const char *resume_dropped_text(const struct resume_dropped *d, char out[RESUME_TEXT_SIZE])
{
	int runs = d->interrupted + d->damaged, used = 0;
	out[0] = '\0';
	if (runs)
		used = snprintf(out, RESUME_TEXT_SIZE, "%d run%s again: ", runs,
				runs == 1 ? " is measured" : "s are measured");
	if (d->interrupted)
		used += snprintf(out + used, (size_t)(RESUME_TEXT_SIZE - used), "%d interrupted%s", d->interrupted,
				 d->damaged ? ", " : "");
	if (d->damaged)
		used += snprintf(out + used, (size_t)(RESUME_TEXT_SIZE - used), "%d damaged (%s%s)", d->damaged, d->why,
				 d->damaged > 1 ? "; ..." : "");
	if (d->lines)
		snprintf(out + used, (size_t)(RESUME_TEXT_SIZE - used), "%s%zu line%s of no finished run left out",
			 used ? "; " : "", d->lines, d->lines == 1 ? "" : "s");
	return out;
}
