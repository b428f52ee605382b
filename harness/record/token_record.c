#include "harness/record/token_record.h"

const char *token_event_name(enum token_event e)
{
	static const char *const names[] = {"direct", "capture", "update", "replay", "fallback"};
	return names[e];
}

const char *token_phase_name(enum token_phase p)
{
	return p == TOKEN_PHASE_WARMUP ? "warmup" : "measure";
}
