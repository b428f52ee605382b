#include "tests/support/renamed_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf.h"
#include "engine/model/gguf_write.h"
#include "tests/support/ok.h"

static int put_tensor(struct gguf_writer *w, const struct gguf_tensor *t, const char *name)
{
	char own[256];
	assert_true(t->name.size < sizeof own);
	memcpy(own, t->name.data, t->name.size);
	own[t->name.size] = '\0';
	return gguf_writer_tensor(w, name ? name : own, t->type, t->n_dims, t->ne);
}

void renamed_model(const char *from, const char *path, const char *name, const char *extra)
{
	static const char key[] = "general.name";
	struct gguf g;
	struct gguf_writer *w;
	OK(gguf_open(&g, from, e));
	OK(gguf_writer_open(&w, path, false, e));
	for (size_t i = 0; i < g.n_kv; i++)
		if (g.kv[i].key.size != sizeof key - 1 || memcmp(g.kv[i].key.data, key, sizeof key - 1))
			gguf_writer_copy(w, &g.kv[i]);
	gguf_writer_string(w, key, name);
	for (size_t i = 0; i < g.n_tensors; i++)
		put_tensor(w, &g.tensors[i], NULL);
	const struct gguf_tensor *norm = gguf_find_tensor(&g, "blk.0.attn_norm.weight");
	int at = extra ? put_tensor(w, norm, extra) : -1;
	OK(gguf_writer_begin(w, e));
	for (size_t i = 0; i < g.n_tensors; i++)
		OK(gguf_writer_data(w, (int)i, g.tensors[i].data, e));
	if (extra)
		OK(gguf_writer_data(w, at, norm->data, e));
	OK(gguf_writer_end(w, e));
	gguf_close(&g);
}
