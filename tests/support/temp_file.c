#include "tests/support/temp_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

struct temp_file temp_file_make(void)
{
	struct temp_file t;
	assert_int_equal(folder_make(t.folder, "file"), 0);
	snprintf(t.path, sizeof t.path, "%s/m.gguf", t.folder);
	return t;
}

void temp_file_remove(const struct temp_file *t)
{
	unlink(t->path);
	assert_int_equal(rmdir(t->folder), 0);
}
