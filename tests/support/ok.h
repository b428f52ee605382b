/* Calls of the engine that a test needs to go well. */
#ifndef GEMMARK_TESTS_SUPPORT_OK_H
#define GEMMARK_TESTS_SUPPORT_OK_H

#include "base/error.h"

/* The call names its struct error *e. Fails the running test with call and error; cmocka.h comes first. */
#define OK(call)                                              \
	do {                                                  \
		struct error ok_error = {""}, *e = &ok_error; \
		if (call)                                     \
			fail_msg("%s: %s", #call, e->text);   \
	} while (0)

#endif
