/*
 * libFuzzer target: the GGUF reader on any bytes, and on what it accepts every getter
 * and the model reader.
 */
#include "engine/model/model.h"
#include "tests/support/gguf_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model m = {0};
	struct error err = {{0}};
	int rc = gguf_open_memory(&m.file, data, size, "fuzz.gguf", &err);
	if (rc == 0) {
		gguf_walk(&m.file);
		rc = model_read(&m, &err);
	}
	if (rc == 0) {
		promise(model_decode_bytes(&m) > 0, "a model reads bytes");
		promise(model_kv_bytes(&m, 1, 1, TENSOR_F32, TENSOR_F16) > 0, "a model has a cache");
	} else {
		walk_error(rc, &err);
	}
	model_close(&m);
	return 0;
}
