/* Fusions that a session can be decoded in: all for most; two devices have no persistent. */
#ifndef GEMMARK_TESTS_SUPPORT_FUSIONS_H
#define GEMMARK_TESTS_SUPPORT_FUSIONS_H

#include <string.h>

#include "engine/infer/session.h"
#include "tests/support/ok.h"

/* Sets it; false where s has none, and the right reason for that. */
static inline bool fusion_set(struct session *s, enum fusion f)
{
	struct error err;
	session_set_fusion(s, f);
	int rc = session_prepare(s, &err);
	if (rc == ERROR_UNSUPPORTED && f == FUSION_PERSISTENT && !strncmp(err.text, "fusion persistent", 17))
		return false;
	if (rc)
		fail_msg("%s", err.text);
	return true;
}

#endif
