/* Option values of the engine's enums, parsed alike by every command. */
#ifndef GEMMARK_HARNESS_CLI_OPTION_VALUES_H
#define GEMMARK_HARNESS_CLI_OPTION_VALUES_H

#include "base/error.h"
#include "engine/cuda/device_cuda.h"
#include "engine/device/graph.h"
#include "engine/infer/forward.h"
#include "engine/infer/load_options.h"
#include "engine/infer/session.h"
#include "engine/model/gguf.h"

/* Each returns 0 or ERROR_INPUT that names the value, the choices and, where one is near, the likely one. */
int options_mode(const char *value, enum graph_mode *out, struct error *err);
int options_fusion(const char *value, enum fusion *out, struct error *err);
/* f32, f16, bf16 */
int options_cache_type(const char *value, enum tensor_type *out, struct error *err);
/* --head gpu|cpu, --ple host|device, --pdl on|off, --prefill-rows all|last, --prefill-precision f16|f32,
 * --prefill-weights auto|resident|convert|N, --host-products f32|bf16, --persistent-limits measured|constant */
int options_head(const char *value, bool *on_host, struct error *err);
int options_ple(const char *value, bool *on_host, struct error *err);
int options_pdl(const char *value, bool *on, struct error *err);
int options_persistent_limits(const char *value, enum persistent_limits_by *out, struct error *err);
int options_prefill_rows(const char *value, enum prefill_rows *out, struct error *err);
int options_prefill_precision(const char *value, enum prefill_precision *out, struct error *err);
int options_prefill_weights(const char *value, int *n_layers, struct error *err);
int options_host_products(const char *value, enum host_products *out, struct error *err);

#endif
