#!/usr/bin/env python3
"""Writes gemma3-270m/values.txt: what the gguf package reads of every tensor of the trained model that ci/setup.sh
--real-model fetches. A line for each, in the file's order: name, type, elements, and XXH3-64 of the values as
little-endian float32, which tests/engine/infer/test_real_model.c compares with the engine's own.

    python3 -m venv v && v/bin/pip install gguf==0.19.0 numpy==2.4.6 xxhash==4.1.0
    v/bin/python tests/golden/make_gemma3_270m_values.py build/real-model/gemma-3-270m-q4_k_m.gguf \\
        > tests/golden/gemma3-270m/values.txt
"""

import sys

import gguf
import numpy as np
import xxhash

ROWS = 4096  # at a time: the embeddings are 671 MB of float32


def main():
    for tensor in gguf.GGUFReader(sys.argv[1]).tensors:
        data = tensor.data.reshape(-1, tensor.data.shape[-1])
        value, elements = xxhash.xxh3_64(), 0
        for begin in range(0, len(data), ROWS):
            rows = gguf.quants.dequantize(data[begin:begin + ROWS], tensor.tensor_type)
            value.update(np.ascontiguousarray(rows, dtype="<f4").tobytes())
            elements += rows.size
        assert elements == tensor.n_elements
        print(tensor.name, tensor.tensor_type.name, elements, value.hexdigest())


main()
