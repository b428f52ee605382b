#include "tests/support/edited_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf.h"
#include "engine/model/gguf_write.h"
#include "tests/support/ok.h"

enum { MAX_TENSORS = 1024 };

static bool edited(struct gguf_string name, const struct edit *edits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(edits[i].name) == name.size && !memcmp(edits[i].name, name.data, name.size))
			return true;
	return false;
}

static void put_key(struct gguf_writer *w, const struct edit *e)
{
	switch (e->kind) {
	case EDIT_U32:
		gguf_writer_u32(w, e->name, (uint32_t)e->value);
		break;
	case EDIT_F32:
		gguf_writer_f32(w, e->name, (float)e->value);
		break;
	case EDIT_BOOL:
		gguf_writer_bool(w, e->name, e->value != 0);
		break;
	case EDIT_STRING:
		gguf_writer_string(w, e->name, e->text);
		break;
	case EDIT_TENSOR:
	case EDIT_DROP:
		break;
	}
}

static const void *put_tensor(struct gguf_writer *w, const struct gguf *g, const struct edit *e)
{
	if (!e->data) {
		const struct gguf_tensor *t = gguf_find_tensor(g, e->text);
		assert_non_null(t);
		gguf_writer_tensor(w, e->name, t->type, t->n_dims, t->ne);
		return t->data;
	}
	int n_dims = 0;
	while (n_dims < 4 && e->ne[n_dims])
		n_dims++;
	gguf_writer_tensor(w, e->name, e->type, n_dims, e->ne);
	return e->data;
}

void edited_model(const char *from, const char *path, const struct edit *edits, size_t n)
{
	struct gguf g;
	struct gguf_writer *w;
	const void *data[MAX_TENSORS];
	int n_tensors = 0;
	OK(gguf_open(&g, from, e));
	OK(gguf_writer_open(&w, path, true, e));
	for (size_t i = 0; i < g.n_kv; i++)
		if (!edited(g.kv[i].key, edits, n))
			gguf_writer_copy(w, &g.kv[i]);
	for (size_t i = 0; i < n; i++)
		put_key(w, &edits[i]);
	assert_true(g.n_tensors + n <= MAX_TENSORS);
	for (size_t i = 0; i < g.n_tensors; i++) {
		const struct gguf_tensor *t = &g.tensors[i];
		char name[256];
		assert_true(t->name.size < sizeof name);
		memcpy(name, t->name.data, t->name.size);
		name[t->name.size] = '\0';
		if (edited(t->name, edits, n))
			continue;
		gguf_writer_tensor(w, name, t->type, t->n_dims, t->ne);
		data[n_tensors++] = t->data;
	}
	for (size_t i = 0; i < n; i++)
		if (edits[i].kind == EDIT_TENSOR)
			data[n_tensors++] = put_tensor(w, &g, &edits[i]);
	OK(gguf_writer_begin(w, e));
	for (int i = 0; i < n_tensors; i++)
		OK(gguf_writer_data(w, i, data[i], e));
	OK(gguf_writer_end(w, e));
	gguf_close(&g);
}
