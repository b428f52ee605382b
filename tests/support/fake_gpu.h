/* The GPU that fake_cuda.c makes up, for the rest of the running test. */
#ifndef GEMMARK_TESTS_SUPPORT_FAKE_GPU_H
#define GEMMARK_TESTS_SUPPORT_FAKE_GPU_H

/* cache: a folder for compiled kernels. Returns the library, or null where it cannot be loaded. */
void *fake_gpu_load(const char *cache);

#endif
