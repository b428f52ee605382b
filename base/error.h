/*
 * How a function says what went wrong: it returns a negative code and writes one
 * line into the caller's struct error: what, where, what to do.
 *
 * The one header of the engine that the harness also includes.
 */
#ifndef GEMMARK_BASE_ERROR_H
#define GEMMARK_BASE_ERROR_H

enum error_code {
	ERROR_INPUT = -1,       /* a file, an option or a value is bad: exit code 2 */
	ERROR_IO = -2,          /* the operating system refused: exit code 2 */
	ERROR_MEMORY = -3,      /* host or device memory is not enough */
	ERROR_DEVICE = -4,      /* a device call failed */
	ERROR_UNSUPPORTED = -5, /* well-formed, but not something this build does */
	ERROR_WRONG = -6,       /* results that are not right: exit code 4 */
};

struct error {
	char text[512]; /* one line, no newline at the end; empty when nothing failed */
};

/* Writes the line, control characters in it escaped, and returns `code`. e may be null. */
int error_set(struct error *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the line that is there. Returns `code`. */
int error_prefix(struct error *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
