/*
 * A model file that is cut short while it is mapped: reading on ends in SIGBUS. What can be done then is to say so, and
 * to end as after other bad input.
 */
#ifndef GEMMARK_HARNESS_CLI_CHANGED_FILE_H
#define GEMMARK_HARNESS_CLI_CHANGED_FILE_H

/*
 * From here on SIGBUS at an address of a mapped model file ends the process with exit code 2 and a line that names the
 * command, the file and the remedy. Files that are being written are removed; what is on the disk stays: of a sweep,
 * all runs that are finished. Strings as long as the process.
 */
void changed_file_watch(const char *command, const char *remedy);

/* What to do about a file that changed, whoever notices: the signal, or a look between two runs. Never NULL. */
const char *changed_file_remedy(void);

#endif
