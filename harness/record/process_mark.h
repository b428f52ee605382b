/*
 * Which process wrote something, so that another one can tell later whether it still runs: its number alone is given
 * to others in time. Linux, from /proc; what cannot be read is unknown.
 */
#ifndef GEMMARK_HARNESS_RECORD_PROCESS_MARK_H
#define GEMMARK_HARNESS_RECORD_PROCESS_MARK_H

#include <jansson.h>

enum { PROCESS_TEXT_SIZE = 72 };

struct process_mark {
	long long pid;
	long long start_ticks;                 /* when it began, in the kernel's ticks since the machine did */
	char host[PROCESS_TEXT_SIZE];          /* "" of these three: unknown */
	char boot_id[PROCESS_TEXT_SIZE];       /* the kernel's, of this start of the machine */
	char pid_namespace[PROCESS_TEXT_SIZE]; /* in which the number is one: containers have their own */
};

enum process_state {
	PROCESS_RUNS,
	PROCESS_GONE,
	PROCESS_UNKNOWN, /* another machine's, or another container's */
};

/* root: "", or a folder that stands for / (proc). */
void process_mark_self(const char *root, struct process_mark *out);
enum process_state process_mark_check(const char *root, const struct process_mark *m);

/* An object; null without memory. And back: 0, or -1 where it is none that process_mark_json makes. */
json_t *process_mark_json(const struct process_mark *m);
int process_mark_parse(const json_t *o, struct process_mark *out);

#endif
