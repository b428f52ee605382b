#include "tests/support/nvtx_injection.h"

#include <stdio.h>

#include <nvtx3/nvToolsExt.h>

enum { RANGES_MAX = 4096, DEPTH_MAX = 16, DOMAINS_MAX = 4 };

static char domains[DOMAINS_MAX][16];
static int n_domains;
static struct nvtx_range ranges[RANGES_MAX];
static int n_ranges;
static int stack[DEPTH_MAX];
static int depth;

nvtx_ranges_function nvtx_ranges;
const struct nvtx_range *nvtx_ranges(int *n)
{
	*n = n_ranges;
	return ranges;
}

static nvtxDomainHandle_t NVTX_API domain_create(const char *name)
{
	if (n_domains == DOMAINS_MAX)
		return NULL;
	char *domain = domains[n_domains++];
	snprintf(domain, sizeof *domains, "%s", name);
	return (nvtxDomainHandle_t)(void *)domain;
}

static int NVTX_API push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *a)
{
	if (n_ranges == RANGES_MAX || depth == DEPTH_MAX)
		return -1;
	struct nvtx_range *r = &ranges[n_ranges];
	*r = (struct nvtx_range){.depth = depth, .open = 1};
	snprintf(r->domain, sizeof r->domain, "%s", (const char *)(void *)domain);
	if (a->messageType == NVTX_MESSAGE_TYPE_ASCII)
		snprintf(r->name, sizeof r->name, "%s", a->message.ascii);
	if (a->payloadType == NVTX_PAYLOAD_TYPE_INT64)
		r->payload = a->payload.llValue;
	stack[depth] = n_ranges++;
	return depth++;
}

static int NVTX_API pop(nvtxDomainHandle_t domain)
{
	(void)domain;
	if (depth == 0)
		return -1;
	ranges[stack[--depth]].open = 0;
	return depth;
}

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t export_table);
int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t export_table)
{
	const NvtxExportTableCallbacks *callbacks = export_table(NVTX_ETID_CALLBACKS);
	NvtxFunctionTable table;
	unsigned n = 0;
	if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &n) ||
	    n <= NVTX_CBID_CORE2_DomainCreateA)
		return 0;
	*table[NVTX_CBID_CORE2_DomainCreateA] = (NvtxFunctionPointer)domain_create;
	*table[NVTX_CBID_CORE2_DomainRangePushEx] = (NvtxFunctionPointer)push;
	*table[NVTX_CBID_CORE2_DomainRangePop] = (NvtxFunctionPointer)pop;
	return 1;
}
