/* A head's row among a warp's lanes, as the kernel of a whole token has it: into a cache's row of Q8_0, and out. */
#include "tests/emulated/caches.h"

#include "kernels/cuda/persistent_rows.cuh"

extern "C" {
#include "tests/emulated/blocks.h"
}

template <int HD> static void rows(const struct emulated_rows_params &p)
{
	lane_dims<HD> own, read;
	row_words<HD, TENSOR_Q8_0> words;
	own.load(p.x);
	own.quantise(p.row);
	own.leave(p.rounded);
	__syncwarp();
	words.load(p.row);
	read.template read<TENSOR_Q8_0>(words);
	read.leave(p.read);
}

extern "C" void k_emulated_rows(const struct emulated_rows_params p)
{
	switch (p.head_dim) {
#define ENTRIES(hd)          \
	case hd:             \
		rows<hd>(p); \
		break;
#include "kernels/cuda/head_dims.cuh"
	}
}
