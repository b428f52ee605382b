#include "engine/model/model_flops.h"

/* Of one row by the matrix, by one expert's of a stack. */
static double product(const struct gguf_tensor *t)
{
	return t ? 2.0 * (double)t->ne[0] * (double)t->ne[1] : 0;
}

/* Of one row through a layer's matrices. */
static double layer_products(const struct model *m, int i)
{
	const struct model_layer *l = &m->layers[i];
	double sum = product(l->attn_q) + product(l->attn_output) + product(l->ffn_gate) + product(l->ffn_up) +
		     product(l->ffn_down) + product(l->inp_gate) + product(l->proj) + product(l->ffn_gate_inp);
	if (l->kv_source == i)
		sum += product(l->attn_k) + (l->v_is_k ? 0 : product(l->attn_v));
	return sum + m->n_expert_used * (product(l->ffn_gate_up_exps) + product(l->ffn_down_exps));
}

/* Keys that the rows at pos .. pos + n - 1 attend, together. */
static double attended(int window, int pos, int n)
{
	double first = pos + 1, last = (double)pos + n;
	if (!window || last <= window)
		return n * (first + last) / 2;
	if (first >= window)
		return (double)n * window;
	double growing = window - first;
	return growing * (first + window - 1) / 2 + (n - growing) * window;
}

static double layer_attention(const struct model *m, int i, int pos, int n)
{
	const struct model_layer *l = &m->layers[i];
	return 4.0 * l->n_head * l->head_dim * attended(l->sliding ? m->window : 0, pos, n);
}

double model_prefill_flops(const struct model *m, int pos, int n, int batch, int all_rows)
{
	int reader = model_first_reader(m);
	double sum = 0;
	for (int done = 0; done < n; done += batch) {
		int rows = n - done < batch ? n - done : batch, last = all_rows ? rows : done + rows == n;
		sum += rows * product(m->per_layer_model_proj) + last * product(m->output);
		for (int i = 0; i < m->n_layer; i++) {
			/* What comes out of the readers is seen by nobody but the head. */
			int some = i < reader ? rows : last;
			sum += some * layer_products(m, i) + layer_attention(m, i, pos + done + rows - some, some);
		}
	}
	return sum;
}
