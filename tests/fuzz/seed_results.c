/* Writes the seed of fuzz_results: seed_results OUT_FILE SCRATCH_FOLDER. The folder must not be there. */
#include <stdio.h>

#include "tests/support/result_sample.h"

int main(int argc, char **argv)
{
	static const char *const names[] = {"runs.csv", "tokens.csv", "telemetry.csv", "timeline.csv"};
	struct error err = {""};
	if (argc != 3) {
		fprintf(stderr, "usage: seed_results OUT_FILE SCRATCH_FOLDER\n");
		return 2;
	}
	if (sample_write(argv[2], &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 2;
	}
	FILE *out = fopen(argv[1], "wb");
	for (int i = 0; i < 4 && out; i++) {
		char path[4096];
		snprintf(path, sizeof path, "%s/%s", argv[2], names[i]);
		FILE *f = fopen(path, "rb");
		for (int c; f && (c = getc(f)) != EOF;)
			putc(c, out);
		if (!f || fclose(f) || (i < 3 && putc(0, out) == EOF)) {
			perror(path);
			return 2;
		}
	}
	if (!out || fclose(out)) {
		perror(argv[1]);
		return 2;
	}
	return 0;
}
