/* The numbers of threads that a measurement of the host device is asked for. */
#ifndef GEMMARK_BENCH_THREAD_LIST_H
#define GEMMARK_BENCH_THREAD_LIST_H

#include "base/error.h"

enum { THREAD_LIST_MAX = 32 };

struct thread_list {
	int threads[THREAD_LIST_MAX];
	int n;
};

/* Adds "1,2,8"; what is beyond THREAD_LIST_MAX is left out. -1 where one is no positive number. */
int thread_list_add(struct thread_list *l, const char *text);
/* Where there is none: as many as the host device takes by itself. 0 or the device's error. */
int thread_list_settle(struct thread_list *l, struct error *err);

#endif
