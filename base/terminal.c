#include "base/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool terminal_redraws(int fd)
{
	const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
	return isatty(fd) == 1 && term && *term && strcmp(term, "dumb") && !(plain && *plain);
}
