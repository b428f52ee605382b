#include "tests/support/vocabulary_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf.h"
#include "engine/model/gguf_write.h"
#include "tests/support/ok.h"

static bool is_tokenizer(const struct gguf_kv *kv)
{
	static const char prefix[] = "tokenizer.";
	return kv->key.size > sizeof prefix - 1 && !memcmp(kv->key.data, prefix, sizeof prefix - 1);
}

void vocabulary_model(const char *model, const char *vocabulary, const char *chat, const char *path)
{
	struct gguf g, v;
	struct gguf_writer *w;
	OK(gguf_open(&g, model, e));
	OK(gguf_open(&v, vocabulary, e));
	OK(gguf_writer_open(&w, path, true, e));
	for (size_t i = 0; i < g.n_kv; i++)
		if (!is_tokenizer(&g.kv[i]))
			gguf_writer_copy(w, &g.kv[i]);
	for (size_t i = 0; i < v.n_kv; i++)
		if (is_tokenizer(&v.kv[i]))
			gguf_writer_copy(w, &v.kv[i]);
	if (chat)
		gguf_writer_string(w, "tokenizer.chat_template", chat);
	for (size_t i = 0; i < g.n_tensors; i++) {
		const struct gguf_tensor *t = &g.tensors[i];
		char name[256];
		assert_true(t->name.size < sizeof name);
		memcpy(name, t->name.data, t->name.size);
		name[t->name.size] = '\0';
		gguf_writer_tensor(w, name, t->type, t->n_dims, t->ne);
	}
	OK(gguf_writer_begin(w, e));
	for (size_t i = 0; i < g.n_tensors; i++)
		OK(gguf_writer_data(w, (int)i, g.tensors[i].data, e));
	OK(gguf_writer_end(w, e));
	gguf_close(&v);
	gguf_close(&g);
}
