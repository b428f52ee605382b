#include "engine/cuda/cuda_driver.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { OLDEST_DRIVER = 12000 };

/* cuGetProcAddress as of CUDA 12.0. */
typedef int get_proc_address(const char *symbol, void **function, int version, uint64_t flags, int *status);

int cuda_driver_check_graph_kernels(const struct cuda_driver *cu, struct error *why)
{
	enum { FIRST = 12040 };
	if (cu->version >= FIRST)
		return 0;
	return error_set(why, ERROR_UNSUPPORTED, "a driver for CUDA 12.4 or newer; this one is for CUDA %d.%d",
			 cu->version / 1000, cu->version % 1000 / 10);
}

int cuda_driver_error(const struct cuda_driver *cu, int result, struct error *err, const char *what, ...)
{
	const char *name = NULL, *text = NULL;
	char call[256];
	va_list args;
	va_start(args, what);
	vsnprintf(call, sizeof call, what, args);
	va_end(args);
	if (!cu->GetErrorName || cu->GetErrorName(result, &name) || !name)
		name = "unknown CUDA error";
	if (!cu->GetErrorString || cu->GetErrorString(result, &text) || !text)
		text = "the driver knows no text for it";
	return error_set(err, result == CU_OUT_OF_MEMORY ? ERROR_MEMORY : ERROR_DEVICE, "%s: %s %d (%s)", call, name,
			 result, text);
}

static int load(struct cuda_driver *cu, struct error *err)
{
	cu->library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!cu->library)
		return error_set(err, ERROR_UNSUPPORTED, "no GPU: libcuda.so.1 not found; install the NVIDIA driver");
	void *symbol = dlsym(cu->library, "cuGetProcAddress_v2");
	if (!symbol)
		return error_set(err, ERROR_UNSUPPORTED,
				 "no GPU: the NVIDIA driver is older than CUDA 12.0 (no cuGetProcAddress_v2); "
				 "update it");
	get_proc_address *find;
	memcpy(&find, &symbol, sizeof find);
	const struct {
		const char *name;
		int version;
		void *slot;
		bool later;
	} wanted[] = {
#define X(name, version, params) {"cu" #name, version, &cu->name, false},
		CUDA_DRIVER_FUNCTIONS(X)
#undef X
#define X(name, version, params) {"cu" #name, version, &cu->name, true},
			CUDA_DRIVER_LATER_FUNCTIONS(X)
#undef X
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		void *function = NULL;
		int status = 0;
		bool missing = find(wanted[i].name, &function, wanted[i].version, 0, &status) || status || !function;
		if (missing && wanted[i].later)
			continue;
		if (missing)
			return error_set(err, ERROR_UNSUPPORTED, "no GPU: the NVIDIA driver has no %s of version %d.%d",
					 wanted[i].name, wanted[i].version / 1000, wanted[i].version % 1000 / 10);
		memcpy(wanted[i].slot, &function, sizeof function);
	}
	return 0;
}

static int start(struct cuda_driver *cu, struct error *err)
{
	const char *name = NULL;
	int count = 0, rc = cu->Init(0);
	if (!rc)
		rc = cu->DriverGetVersion(&cu->version);
	if (!rc && cu->version < OLDEST_DRIVER)
		return error_set(err, ERROR_UNSUPPORTED, "no GPU: the driver is for CUDA %d.%d; 12.0 is the oldest",
				 cu->version / 1000, cu->version % 1000 / 10);
	if (!rc)
		rc = cu->DeviceGetCount(&count);
	if (!rc && count > 0)
		return 0;
	if (!rc || rc == CU_NO_DEVICE)
		return error_set(err, ERROR_UNSUPPORTED, "no GPU: the driver is there and lists no device");
	cu->GetErrorName(rc, &name);
	return error_set(err, ERROR_UNSUPPORTED, "no GPU: the driver does not start: %s",
			 name ? name : "unknown error");
}

int cuda_driver_open(struct cuda_driver *cu, struct error *err)
{
	*cu = (struct cuda_driver){0};
	int rc = load(cu, err);
	if (!rc)
		rc = start(cu, err);
	if (rc)
		cuda_driver_close(cu);
	return rc;
}

void cuda_driver_close(struct cuda_driver *cu)
{
	/* The library stays mapped: the driver does not survive being unloaded and loaded again. */
	*cu = (struct cuda_driver){0};
}
