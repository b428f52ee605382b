#include "tests/support/fake_gpu.h"

#include <dlfcn.h>
#include <stdlib.h>

void *fake_gpu_load(const char *cache)
{
	/* Its name in itself is libcuda.so.1: who asks for that from now on gets this one. */
	void *library = dlopen(GEMMARK_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
	return setenv("XDG_CACHE_HOME", cache, 1) || setenv("GEMMARK_NVRTC", GEMMARK_FAKE_CUDA, 1) ? NULL : library;
}
