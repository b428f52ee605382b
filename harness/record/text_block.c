#include "harness/record/text_block.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 16 };

struct text_block {
	struct text_block *next;
	size_t used, size;
	char bytes[];
};

const char *text_block_keep(struct text_block **blocks, const char *text)
{
	size_t n = strlen(text) + 1;
	struct text_block *b = *blocks;
	if (!b || b->size - b->used < n) {
		size_t size = n > BLOCK ? n : BLOCK;
		b = malloc(sizeof *b + size);
		if (!b)
			return NULL;
		*b = (struct text_block){.next = *blocks, .size = size};
		*blocks = b;
	}
	char *kept = memcpy(b->bytes + b->used, text, n);
	b->used += n;
	return kept;
}

void text_block_free(struct text_block **blocks)
{
	while (*blocks) {
		struct text_block *next = (*blocks)->next;
		free(*blocks);
		*blocks = next;
	}
}
