#include "tests/support/no_gpu.h"

#include <stdio.h>

#include "engine/cuda/device_cuda.h"

bool no_gpu(void)
{
	struct error err;
	if (!device_cuda_probe(&err))
		return false;
	printf("skipped: %s\n", err.text);
	return true;
}
