#include "bench/thread_list.h"

#include <stdlib.h>
#include <string.h>

#include "engine/device/device_host.h"

int thread_list_add(struct thread_list *l, const char *text)
{
	for (const char *at = text; at && l->n < THREAD_LIST_MAX; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		int n = atoi(at);
		if (n < 1)
			return -1;
		l->threads[l->n++] = n;
	}
	return 0;
}

int thread_list_settle(struct thread_list *l, struct error *err)
{
	struct device *d;
	if (l->n)
		return 0;
	int rc = device_host_open(&d, 0, err);
	if (rc)
		return rc;
	l->threads[l->n++] = device_host_threads(d);
	device_close(d);
	return 0;
}
