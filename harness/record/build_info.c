#include "harness/record/build_info.h"

#include "generated/gemmark_version.h"

const struct build_info *build_info(void)
{
	static const struct build_info info = {
		.version = GEMMARK_VERSION,
		.commit = GEMMARK_COMMIT,
		.number = GEMMARK_COMMIT_NUMBER,
		.dirty = GEMMARK_DIRTY,
		.label = GEMMARK_LABEL,
		.compiler = GEMMARK_COMPILER,
		.flags = GEMMARK_FLAGS,
		.type = GEMMARK_BUILD_TYPE,
	};
	return &info;
}
