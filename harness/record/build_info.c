#include "harness/record/build_info.h"

#include "generated/gemmark_version.h"

#if GEMMARK_DIRTY == 1
#define LABEL GEMMARK_COMMIT "-dirty"
#else
#define LABEL GEMMARK_COMMIT
#endif

const struct build_info *build_info(void)
{
	static const struct build_info info = {
		.version = GEMMARK_VERSION,
		.commit = GEMMARK_COMMIT,
		.number = GEMMARK_COMMIT_NUMBER,
		.dirty = GEMMARK_DIRTY,
		.label = LABEL,
		.compiler = GEMMARK_COMPILER,
		.flags = GEMMARK_FLAGS,
		.type = GEMMARK_BUILD_TYPE,
	};
	return &info;
}
