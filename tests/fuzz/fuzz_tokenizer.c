/* libFuzzer target: any vocabulary in a GGUF file, and any text by it. */
#include "tests/support/tokenizer_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	tokenizer_walk(data, size);
	return 0;
}
