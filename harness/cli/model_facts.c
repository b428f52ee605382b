#include "harness/cli/model_facts.h"

const char *model_weight_type(const struct model *m)
{
	const char *best = "";
	size_t most = 0;
	for (int t = 0; t < tensor_type_count; t++) {
		size_t bytes = 0;
		for (size_t i = 0; i < m->file.n_tensors; i++)
			if (m->file.tensors[i].type == tensor_types[t].type)
				bytes += m->file.tensors[i].bytes;
		if (bytes >= most) {
			most = bytes;
			best = tensor_types[t].name;
		}
	}
	return best;
}

int64_t model_bytes(const struct model *m)
{
	int64_t sum = 0;
	for (size_t i = 0; i < m->file.n_tensors; i++)
		sum += (int64_t)m->file.tensors[i].bytes;
	return sum;
}

int64_t model_parameters(const struct model *m)
{
	int64_t sum = 0;
	for (size_t i = 0; i < m->file.n_tensors; i++) {
		int64_t n = 1;
		for (int d = 0; d < GGUF_MAX_DIMS; d++)
			n *= m->file.tensors[i].ne[d];
		sum += n;
	}
	return sum;
}
