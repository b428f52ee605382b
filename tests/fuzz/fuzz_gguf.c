/* libFuzzer target: the GGUF reader on any bytes, and every getter on what it accepts. */
#include "tests/gguf_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gguf g;
	struct error err = {{0}};
	int rc = gguf_open_memory(&g, data, size, "fuzz.gguf", &err);
	if (rc == 0)
		gguf_walk(&g);
	else
		walk_error(rc, &err);
	gguf_close(&g);
	return 0;
}
