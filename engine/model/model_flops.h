/*
 * The floating-point operations of a prefill, as a roofline counts them: those of its matrix products and of
 * attention, that this engine executes.
 *
 * A product of M rows by a matrix (N, K) is 2 M N K; a query row that attends a keys is 4 a n_head head_dim, for q . k
 * and p . v. The causal mask and windows are exact: what is not attended is not counted. Norms, RoPE, softmax,
 * activations, additions and gathers are left out, and so is the conversion of weights.
 *
 * Executed means: the layers at a model's end that write no cache run for a prompt's last row only, the output matrix
 * for it alone, unless all rows are asked for; and of a mixture the experts used.
 */
#ifndef GEMMARK_ENGINE_MODEL_MODEL_FLOPS_H
#define GEMMARK_ENGINE_MODEL_MODEL_FLOPS_H

#include "engine/model/model.h"

/* Of n tokens from position pos on, in chunks of `batch` rows, without eviction. all_rows: nothing is left out. */
double model_prefill_flops(const struct model *m, int pos, int n, int batch, int all_rows);

#endif
