/* A golden model under another name. */
#ifndef GEMMARK_TESTS_SUPPORT_RENAMED_MODEL_H
#define GEMMARK_TESTS_SUPPORT_RENAMED_MODEL_H

/*
 * Writes to `path` the model of the file `from`, with `name` as its general.name and the tensor blk.0.attn_norm.weight
 * a second time as `extra`, where that is not null. Fails the running test where that does not work.
 */
void renamed_model(const char *from, const char *path, const char *name, const char *extra);

#endif
