/* The front's part of time stamps: which launches there were, and of what. */
#include <stdlib.h>

#include "engine/device/device_ops.h"

void device_set_label(struct device *d, struct device_label label)
{
	d->label = label;
}

int device_note_launch(struct device *d, unsigned n_blocks, struct error *err)
{
	if (!d->stamps.on)
		return 0;
	if (d->stamps.n == d->stamps.cap) {
		int cap = d->stamps.cap ? 2 * d->stamps.cap : 1024;
		struct device_launched *launches = realloc(d->stamps.launches, (size_t)cap * sizeof *launches);
		if (!launches)
			return error_set(err, ERROR_MEMORY, "%s device: no memory for the labels of %d launches",
					 d->ops->name, cap);
		d->stamps.launches = launches;
		d->stamps.cap = cap;
	}
	d->stamps.launches[d->stamps.n++] = (struct device_launched){d->label, n_blocks};
	return 0;
}

int device_stamps_begin(struct device *d, struct error *err)
{
	if (d->capturing)
		return device_refuse(d, "stamps_begin", err);
	if (d->stamps.on)
		return error_set(err, ERROR_DEVICE, "%s device: time stamps are being taken already", d->ops->name);
	int rc = d->ops->synchronize(d, err);
	if (!rc)
		rc = d->ops->stamps_begin(d, err);
	d->stamps.on = !rc;
	return rc;
}

int device_stamps_rehearse(struct device *d, bool on, struct error *err)
{
	if (d->capturing)
		return device_refuse(d, "stamps_rehearse", err);
	if (!d->stamps.on)
		return error_set(err, ERROR_DEVICE, "%s device: no time stamps are being taken", d->ops->name);
	d->stamps.rehearsing = on;
	return 0;
}

static int take(struct device *d, struct device_stamps *out, struct error *err)
{
	int n = d->stamps.n, rc = device_synchronize(d, err); /* first: what follows gives up the records */
	if (rc)
		return rc;
	out->labels = malloc(((size_t)n + 1) * sizeof *out->labels);
	if (!out->labels)
		return error_set(err, ERROR_MEMORY, "%s device: no memory for the labels of %d launches", d->ops->name,
				 n);
	for (int i = 0; i < n; i++)
		out->labels[i] = d->stamps.launches[i].label;
	out->n_launches = n;
	return 0;
}

int device_stamps_end(struct device *d, struct device_stamps *out, struct error *err)
{
	struct error ignored;
	*out = (struct device_stamps){0};
	if (!d->stamps.on)
		return error_set(err, ERROR_DEVICE, "%s device: no time stamps are being taken", d->ops->name);
	d->stamps.rehearsing = false;
	int rc = take(d, out, err), end = d->ops->stamps_end(d, out, rc ? &ignored : err);
	free(d->stamps.launches);
	d->stamps.launches = NULL;
	d->stamps.n = d->stamps.cap = 0;
	d->stamps.on = false;
	return rc ? rc : end;
}

void device_stamps_free(struct device_stamps *s)
{
	free(s->labels);
	free(s->multiprocessors);
	free(s->ns);
	*s = (struct device_stamps){0};
}
