#!/usr/bin/env python3
"""Writes quants.bin: blocks of the quantised tensor types, and the float32 values that the gguf package reads in them.

tests/kernels/test_quants.c compares what the kernels read with it, bit for bit. Blocks are random bytes, with scales
that are zero, negative, subnormal and the largest there are among them; of the types that the package can make also
blocks of a tensor of the golden models. For each type: its number in GGUF and the number of elements, 32 bits each,
then the blocks, then the values. Run this again only to change the vectors:

    python3 -m venv v && v/bin/pip install gguf==0.19.0 numpy==2.4.6
    v/bin/python tests/vectors/make_quants.py tests/golden/gemma4-e4b-tiny.f32.gguf > tests/vectors/quants.bin
"""

import struct
import sys

import gguf
import numpy as np

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "Q4_K", "Q5_K", "Q6_K"]
# Where the fp16 numbers are in a block.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "IQ4_NL": [0], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208]}
EXTREME = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x7BFF, 0xFBFF, 0x3C00, 0xBC00]
ELEMENTS = 6144
REAL = 1024

random = np.random.default_rng(20261127)


def random_blocks(name, n, size):
    blocks = random.integers(0, 256, (n, size), dtype=np.uint8)
    for place, at in enumerate(HALVES[name]):
        for i in range(n):
            # As trained tensors have them, or one of the ends; in pairs all combinations come by.
            half = EXTREME[(i // len(EXTREME) ** place) % len(EXTREME)] if i % 2 else np.float16(
                random.normal(0, 0.01)).view(np.uint16)
            blocks[i, at:at + 2] = np.frombuffer(struct.pack("<H", int(half)), dtype=np.uint8)
    blocks[0, :] = 0
    return blocks


def main():
    golden = gguf.GGUFReader(sys.argv[1])
    real = next(t for t in golden.tensors if t.name == "blk.0.ffn_down.weight").data.reshape(-1)[:REAL]
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        parts = [random_blocks(name, ELEMENTS // block, size)]
        try:
            parts.append(gguf.quants.quantize(real.astype(np.float32), kind).reshape(-1, size))
        except NotImplementedError:
            pass
        blocks = np.concatenate(parts)
        values = gguf.quants.dequantize(blocks, kind).astype(np.float32).reshape(-1)
        assert values.size == len(blocks) * block and np.isfinite(values).all()
        sys.stdout.buffer.write(struct.pack("<II", int(kind), values.size))
        sys.stdout.buffer.write(blocks.tobytes())
        sys.stdout.buffer.write(values.tobytes())


main()
