/*
 * What a file says that it is as a whole: general.file_type. Of mixtures this is the name that they are published
 * under, and not the type that most of their bytes have.
 *
 * Source: enum llama_ftype of llama.cpp's llama.h; of those whose tensors are read.
 */
#include "engine/model/model.h"

static const char *const names[] = {
	[0] = "F32",     [1] = "F16",   [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
	[8] = "Q5_0",    [9] = "Q5_1",  [14] = "Q4_K_S", [15] = "Q4_K_M", [16] = "Q5_K_S",
	[17] = "Q5_K_M", [18] = "Q6_K", [25] = "IQ4_NL", [32] = "BF16",
};

const char *model_file_type(const struct model *m)
{
	int64_t number;
	struct error ignored;
	if (!gguf_find(&m->file, "general.file_type") ||
	    gguf_get_int(&m->file, "general.file_type", &number, &ignored) || number < 0 ||
	    number >= (int64_t)(sizeof names / sizeof *names))
		return NULL;
	return names[number];
}
