/*
 * What this program was built from and with.
 */
#ifndef GEMMARK_HARNESS_RECORD_BUILD_INFO_H
#define GEMMARK_HARNESS_RECORD_BUILD_INFO_H

struct build_info {
	const char *version;  /* of the project */
	const char *commit;   /* short, or "unknown" */
	int number;           /* commits up to it; -1: unknown */
	int dirty;            /* 1: tracked files differed from the commit, 0: they did not, -1: unknown */
	const char *label;    /* commit, with "-dirty" where it applies: what rows carry */
	const char *compiler; /* "GNU 12.2.0" */
	const char *flags;    /* the build type's */
	const char *type;     /* "RelWithDebInfo" */
};

const struct build_info *build_info(void);

#endif
