#include "harness/plot/plot_figure.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "harness/plot/gnuplot.h"
#include "harness/plot/plot_script.h"

extern const char *const plot_templates[]; /* made from the files in plots by the build */

enum { N_STYLES = 8 }; /* colours and shapes in style.gp */

void plot_note(const struct plot_request *request, const char *format, ...)
{
	char text[512], line[2 * sizeof text];
	va_list args;
	if (!request->note)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	text_escape(line, sizeof line, text);
	request->note(request->ctx, line);
}

void plot_figure_skipped(const struct plot_figure *f, const char *name, const char *why)
{
	plot_note(f->request, "%s%s%s: not drawn: %s", name, *f->slug ? "-" : "", f->slug, why);
}

void plot_figure_slug(const struct plot_data *d, int panel, const int *among, int n_among, unsigned skip,
		      char slug[PLOT_SLUG_MAX])
{
	size_t used = 0;
	slug[0] = '\0';
	for (int key = 0; key < PLOT_KEY_COUNT; key++) {
		const char *value = plot_data_key(d, panel, key);
		const char *label = key < AXIS_COUNT ? axes[key].slug : key == PLOT_KEY_COMMIT ? "commit-" : "";
		bool differs = false;
		for (int i = 0; i < n_among && !differs && !(skip >> key & 1); i++)
			differs = !plot_data_same_key(d, panel, among[i], key);
		if (!differs || used >= PLOT_SLUG_MAX - 8)
			continue;
		int n = snprintf(slug + used, PLOT_SLUG_MAX - 8 - used, "%s%s%s", used ? "-" : "", label, value);
		for (int i = 0; i < n && slug[used]; i++, used++)
			if (!isalnum((unsigned char)slug[used]) && slug[used] != '.' && slug[used] != '_')
				slug[used] = '-';
	}
}

int plot_figure_open(struct plot_figure *f, const char *name, struct error *err)
{
	snprintf(f->stem, sizeof f->stem, "%s%s%s", name, *f->slug ? "-" : "", f->slug);
	snprintf(f->dat_name, sizeof f->dat_name, "%s.dat", f->stem);
	snprintf(f->script_name, sizeof f->script_name, "%s.gp", f->stem);
	int rc = run_file_open(&f->dat_file, f->out, f->dat_name, err);
	if (rc)
		return rc;
	rc = run_file_open(&f->script_file, f->out, f->script_name, err);
	if (rc) {
		run_file_discard(&f->dat_file);
		return rc;
	}
	f->dat = f->dat_file.stream;
	f->script = f->script_file.stream;
	fprintf(f->script, "# Redraw: gnuplot -e \"format='svg'\" %s.gp (or png)\n\n", f->stem);
	return 0;
}

/* gnuplot does not notice that a write fails: whether the picture has its end. */
static bool is_whole(int fd, off_t size, const char *format)
{
	char tail[64];
	const char *end = strcmp(format, "svg") ? "IEND" : "</svg>";
	size_t want = size < (off_t)sizeof tail ? (size_t)size : sizeof tail;
	ssize_t n = pread(fd, tail, want, size - (off_t)want);
	return n > 0 && memmem(tail, (size_t)n, end, strlen(end));
}

/* gnuplot gets no name to write to: its standard output is the new picture. */
static int draw(const struct plot_figure *f, const char *format, struct error *err)
{
	char name[PLOT_STEM_MAX + 8], path[RUN_DIRECTORY_PATH + sizeof name];
	struct run_file picture;
	struct stat st;
	snprintf(name, sizeof name, "%s.%s", f->stem, format);
	int rc = run_file_open(&picture, f->out, name, err);
	if (!rc)
		rc = gnuplot_run(f->request->gnuplot, f->out, f->script_name, format, fileno(picture.stream),
				 f->request->timeout_s, err);
	if (!rc && (fstat(fileno(picture.stream), &st) || st.st_size == 0))
		rc = error_set(err, ERROR_IO, "%s/%s: gnuplot ended well but drew nothing", f->out->path, name);
	if (!rc && !is_whole(fileno(picture.stream), st.st_size, format))
		rc = error_set(err, ERROR_IO, "%s/%s: gnuplot could not write all of it; free space or raise ulimit -f",
			       f->out->path, name);
	if (rc) {
		run_file_discard(&picture);
		return rc;
	}
	rc = run_file_commit(&picture, 0, err);
	snprintf(path, sizeof path, "%s/%s", f->out->path, name);
	if (!rc && f->request->wrote)
		f->request->wrote(f->request->ctx, path);
	return rc;
}

int plot_figure_finish(struct plot_figure *f, const int *templates, struct error *err)
{
	for (; *templates >= 0; templates++)
		fprintf(f->script, "\n%s", plot_templates[*templates]);
	int rc = run_file_commit(&f->dat_file, 0, err);
	if (rc)
		run_file_discard(&f->script_file);
	else
		rc = run_file_commit(&f->script_file, 0, err);
	if (!rc && f->request->formats & PLOT_FORMAT_SVG)
		rc = draw(f, "svg", err);
	if (!rc && f->request->formats & PLOT_FORMAT_PNG)
		rc = draw(f, "png", err);
	return rc;
}

static bool shows_several(const struct plot_figure *f, int key)
{
	return f->varies >> key & 1;
}

static const char *key_text(const struct plot_figure *f, int key)
{
	return plot_data_key(f->data, f->panel, key);
}

void plot_figure_series(const struct plot_figure *f, const char *const *names, const int *styles, int n)
{
	double numbers[PLOT_DATA_MAX_MODES];
	assert(n <= PLOT_DATA_MAX_MODES);
	for (int i = 0; i < n; i++)
		numbers[i] = styles[i] % N_STYLES + 1;
	plot_script_number(f->script, "n_modes", n);
	plot_script_strings(f->script, "mode_names", names, n);
	plot_script_numbers(f->script, "mode_styles", numbers, n);
}

void plot_figure_modes(const struct plot_figure *f, const int *modes, int n)
{
	char names[PLOT_DATA_MAX_MODES][PLOT_TEXT_MAX];
	const char *texts[PLOT_DATA_MAX_MODES];
	int styles[PLOT_DATA_MAX_MODES];
	for (int i = 0; i < n; i++) {
		plot_text_clean(names[i], f->data->modes[modes[i]], 24);
		texts[i] = names[i];
		styles[i] = plot_data_mode_style(f->data, modes[i]);
	}
	plot_figure_series(f, texts, styles, n);
}

/* Fewest and most runs of a cell of a combination; *first becomes the start of its first run where that is earlier. */
static void count_runs(const struct plot_data *d, int panel, long *fewest, long *most, const char **first)
{
	const struct plot_panel *p = &d->panels[panel];
	for (int m = 0; m < p->n_modes; m++) {
		for (int k = 0; k < p->n_depths; k++) {
			long n = 0;
			for (size_t i = 0; i < d->n_runs; i++) {
				const struct plot_run *r = &d->runs[i];
				if (r->combination != panel)
					continue;
				const char *started = r->row->started_utc;
				if (!**first || (*started && strcmp(started, *first) < 0))
					*first = started;
				n += r->mode == p->modes[m] && r->depth == p->depths[k];
			}
			if (n && (!*fewest || n < *fewest))
				*fewest = n;
			if (n > *most)
				*most = n;
		}
	}
}

void plot_figure_caption(const struct plot_figure *f, const int *panels, int n_panels, const char *marks)
{
	struct plot_caption c = {0};
	char a[PLOT_TEXT_MAX], b[PLOT_TEXT_MAX], item[3 * PLOT_TEXT_MAX];
	const char *first = "";
	long fewest = 0, most = 0;
	for (int i = 0; i < n_panels; i++)
		count_runs(f->data, panels[i], &fewest, &most, &first);

	plot_text_clean(a, key_text(f, PLOT_KEY_MODEL), 60);
	plot_text_clean(b, key_text(f, PLOT_KEY_WEIGHT_TYPE), 16);
	snprintf(item, sizeof item, "%s, weights %s", a, b);
	plot_caption_add(&c, item);
	plot_text_clean(a, key_text(f, AXIS_TYPE_K), 16);
	plot_text_clean(b, key_text(f, AXIS_TYPE_V), 16);
	snprintf(item, sizeof item, "cache K %s, V %s", a, b);
	plot_caption_add(&c, item);
	size_t used = (size_t)snprintf(item, sizeof item, shows_several(f, AXIS_FUSION) ? "fusions" : "fusion");
	for (int i = 0; i < (shows_several(f, AXIS_FUSION) ? n_panels : 1) && used < sizeof item - 20; i++) {
		plot_text_clean(
			a, plot_data_key(f->data, shows_several(f, AXIS_FUSION) ? panels[i] : f->panel, AXIS_FUSION),
			16);
		used += (size_t)snprintf(item + used, sizeof item - used, "%s %s", i ? "," : "", a);
	}
	plot_caption_add(&c, item);
	if (strcmp(key_text(f, AXIS_SYNC), SYNC_TOKEN))
		plot_caption_add(&c, "tokens queued");
	plot_text_clean(a, key_text(f, AXIS_GPU_LAYERS), 16);
	snprintf(item, sizeof item, "%s GPU layers", a);
	if (!shows_several(f, AXIS_GPU_LAYERS))
		plot_caption_add(&c, item);
	plot_text_clean(a, key_text(f, AXIS_THREADS), 16);
	snprintf(item, sizeof item, "%s thread%s", a, strcmp(a, "1") ? "s" : "");
	plot_caption_add(&c, item);
	plot_text_clean(a, key_text(f, AXIS_SNAPKV), 60);
	snprintf(item, sizeof item, "SnapKV %s", a);
	if (strcmp(a, SNAPKV_OFF) && !shows_several(f, AXIS_SNAPKV))
		plot_caption_add(&c, item);
	plot_caption_break(&c);
	plot_text_clean(a, key_text(f, PLOT_KEY_DEVICE), 64);
	plot_caption_add(&c, a);
	if (*f->data->places)
		plot_caption_add(&c, f->data->places);
	plot_text_clean(a, key_text(f, PLOT_KEY_COMMIT), 20);
	snprintf(item, sizeof item, "commit %s", a);
	plot_caption_add(&c, item);
	plot_text_clean(a, first, 24);
	if (*a)
		plot_caption_add(&c, a);
	plot_text_clean(a, key_text(f, AXIS_GEN), 12);
	if (fewest == most)
		snprintf(item, sizeof item, "%s tokens \xc3\x97 %ld run%s", a, most, most == 1 ? "" : "s");
	else
		snprintf(item, sizeof item, "%s tokens \xc3\x97 %ld to %ld runs", a, fewest, most);
	plot_caption_add(&c, item);
	plot_caption_break(&c);
	plot_caption_add(&c, marks);
	plot_script_caption(f->script, &c);
}
