/* Copies of texts that a reader keeps, one behind the other; they stay where they are until all are freed. */
#ifndef GEMMARK_HARNESS_RECORD_TEXT_BLOCK_H
#define GEMMARK_HARNESS_RECORD_TEXT_BLOCK_H

struct text_block; /* opaque; a null one is empty */

/* A copy; null: no memory. */
const char *text_block_keep(struct text_block **blocks, const char *text);
/* May be called twice. */
void text_block_free(struct text_block **blocks);

#endif
