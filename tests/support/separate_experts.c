#include "tests/support/separate_experts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/model/gguf.h"
#include "tests/support/edited_model.h"
#include "tests/support/ok.h"

enum { MAX_LAYERS = 16 };

/* Each expert's first (0) or second (1) half of the rows. */
static void *half(const struct gguf_tensor *t, int which)
{
	size_t n = (size_t)t->ne[2], expert = t->bytes / n;
	char *out = malloc(t->bytes / 2);
	assert_non_null(out);
	for (size_t e = 0; e < n; e++)
		memcpy(out + e * expert / 2, (const char *)t->data + e * expert + (size_t)which * expert / 2,
		       expert / 2);
	return out;
}

void separate_experts(const char *from, const char *path)
{
	static const char *const parts[] = {"gate", "up"};
	struct gguf g;
	struct edit edits[3 * MAX_LAYERS];
	char names[3 * MAX_LAYERS][64];
	int n = 0;
	OK(gguf_open(&g, from, e));
	for (int i = 0; i < MAX_LAYERS; i++) {
		snprintf(names[n], sizeof names[n], "blk.%d.ffn_gate_up_exps.weight", i);
		const struct gguf_tensor *t = gguf_find_tensor(&g, names[n]);
		if (!t)
			break;
		edits[n] = (struct edit){.kind = EDIT_DROP, .name = names[n]};
		n++;
		for (int k = 0; k < 2; k++, n++) {
			snprintf(names[n], sizeof names[n], "blk.%d.ffn_%s_exps.weight", i, parts[k]);
			edits[n] = (struct edit){.kind = EDIT_TENSOR,
						 .name = names[n],
						 .type = t->type,
						 .ne = {t->ne[0], t->ne[1] / 2, t->ne[2]},
						 .data = half(t, k)};
		}
	}
	assert_true(n > 0);
	edited_model(from, path, edits, (size_t)n);
	for (int i = 0; i < n; i++)
		free((void *)(uintptr_t)edits[i].data);
	gguf_close(&g);
}
