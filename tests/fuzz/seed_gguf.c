/* Writes the sample files as the fuzzer's seeds: seed_gguf OUT_DIR. Run it again when a sample changes. */
#include <stdio.h>

#include "tests/support/gguf_bytes.h"

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: seed_gguf OUT_DIR\n");
		return 2;
	}
	for (int i = 0; i < N_SAMPLES; i++) {
		struct bytes b = {0};
		char path[4096];
		samples[i].build(&b);
		snprintf(path, sizeof path, "%s/%s.gguf", argv[1], samples[i].name);
		FILE *f = fopen(path, "wb");
		if (!f || fwrite(b.p, 1, b.n, f) != b.n || fclose(f) != 0) {
			perror(path);
			return 2;
		}
		bytes_free(&b);
	}
	return 0;
}
