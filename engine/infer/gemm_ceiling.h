/*
 * The rate of matrix products alone, which a prefill's can be held against: the model's largest layer product over a
 * full chunk of rows, measured on the model's own device, in the arithmetic of its prompts.
 *
 * On a GPU it is cuBLASLt's product in the prefill's precision, with weights and activations in that type already. On
 * the host it is the engine's own product, of the weights as they are.
 */
#ifndef GEMMARK_ENGINE_INFER_GEMM_CEILING_H
#define GEMMARK_ENGINE_INFER_GEMM_CEILING_H

#include "engine/infer/loaded_model.h"

/*
 * FLOP/s, the best of a few products; well below a second on a GPU, one or two on the host. Negative where there is
 * none: the model is on two devices, which take turns, or there is no room, or the product fails.
 */
double gemm_ceiling_measure(struct loaded_model *m);

#endif
