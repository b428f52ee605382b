#include "engine/device/nvtx.h"

#ifdef GEMMARK_NVTX

#include <pthread.h>

#include <nvtx3/nvToolsExt.h>

static nvtxDomainHandle_t domain; /* null: nobody listens */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void create(void)
{
	domain = nvtxDomainCreateA("gemmark");
}

void nvtx_push(const char *name, int64_t payload)
{
	pthread_once(&once, create);
	if (!domain)
		return;
	nvtxEventAttributes_t a = {0};
	a.version = NVTX_VERSION;
	a.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
	a.payloadType = NVTX_PAYLOAD_TYPE_INT64;
	a.payload.llValue = payload;
	a.messageType = NVTX_MESSAGE_TYPE_ASCII;
	a.message.ascii = name;
	nvtxDomainRangePushEx(domain, &a);
}

void nvtx_pop(void)
{
	if (domain)
		nvtxDomainRangePop(domain);
}

#else

void nvtx_push(const char *name, int64_t payload)
{
	(void)name;
	(void)payload;
}

void nvtx_pop(void)
{
}

#endif
