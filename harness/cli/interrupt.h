/*
 * SIGINT, SIGTERM and SIGHUP: what asks the program to end. One that is ignored at its start, as by nohup or trap '',
 * stays so.
 *
 * Until a command has made something that is worth keeping, the program ends at once, with one line and without what
 * is half written. From then on the first signal is noted, and the command ends what it does in good order.
 */
#ifndef GEMMARK_HARNESS_CLI_INTERRUPT_H
#define GEMMARK_HARNESS_CLI_INTERRUPT_H

#include <signal.h>

enum { EXIT_INTERRUPTED = 130 }; /* 128 + SIGINT, as shells have it; of all three */

/*
 * From now on they end the program at once: "gemmark COMMAND: interrupted", EXIT_INTERRUPTED, and no temporary file of
 * base/output_file.h is left. command lives on; null: none is known yet.
 */
void interrupt_ends(const char *command);

/*
 * From now on the first one is noted. One more than a second later ends the program the usual way; sooner it is the
 * same one, sent to the process and to its group, as timeout(1) does.
 */
void interrupt_is_noted(void);
/* The signal that was noted, or 0. */
extern volatile sig_atomic_t interrupt_noted;

#endif
