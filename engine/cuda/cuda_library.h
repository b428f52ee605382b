/* Finds a shared library of the CUDA toolkit: by name, then where toolkits are installed. */
#ifndef GEMMARK_ENGINE_CUDA_CUDA_LIBRARY_H
#define GEMMARK_ENGINE_CUDA_CUDA_LIBRARY_H

#include <stddef.h>

/*
 * name: "libnvrtc.so"; newest major version 13, oldest 12. Returns a dlopen handle, to be kept, and
 * copies the name that worked into path; null where there is none.
 */
void *cuda_library_open(const char *name, char *path, size_t path_bytes);

#endif
