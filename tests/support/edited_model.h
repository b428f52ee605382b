/* A model's file with other keys and tensors than the one that it is made from. */
#ifndef GEMMARK_TESTS_SUPPORT_EDITED_MODEL_H
#define GEMMARK_TESTS_SUPPORT_EDITED_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/params.h"

enum edit_kind {
	EDIT_U32 = 1, /* the key has value */
	EDIT_F32,
	EDIT_BOOL,
	EDIT_STRING, /* the key has text */
	EDIT_TENSOR, /* the tensor is a second copy of the one named text; or has type, ne and data, where data is not
			null */
	EDIT_DROP,   /* the key, or the tensor, is not there */
};

struct edit {
	enum edit_kind kind;
	const char *name;
	double value;
	const char *text;
	enum tensor_type type;
	int64_t ne[4]; /* innermost first, 0 behind the last */
	const void *data;
};

/* Writes to `path` the file `from` with n edits. Fails the running test where that does not work. */
void edited_model(const char *from, const char *path, const struct edit *edits, size_t n);

#endif
