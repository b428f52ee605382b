#!/usr/bin/env python3
"""Writes rope.json: the RoPE frequencies and attention factors that the transformers library computes.

tests/engine/model/test_rope.c compares engine/model/rope.c with it. Its functions are written for PyTorch; here they
run in float64 over NumPy, which the few calls that they make are mapped to. Run this again only to change the vectors:

    python3 -m venv v && v/bin/pip install numpy==2.4.6 transformers==5.24.0
    v/bin/python tests/vectors/make_rope.py > tests/vectors/rope.json
"""

import json
import sys
import types

import numpy as np
from transformers import modeling_rope_utils as rope


class Array(np.ndarray):
    def to(self, *_, **__):
        return self


def arange(*args, **_):
    return np.arange(*args, dtype=np.float64).view(Array)


rope.torch = types.SimpleNamespace(
    arange=arange, clamp=lambda x, low, high: np.clip(x, low, high), float=None, float32=None, int64=None)


def config(head_dim, context, **parameters):
    return types.SimpleNamespace(
        head_dim=head_dim, hidden_size=head_dim * 4, num_attention_heads=4, max_position_embeddings=context,
        rope_parameters=parameters, standardize_rope_params=lambda: None)


def case(scaling, base, head_dim, original=4096, factor=1.0, beta_fast=32.0, beta_slow=1.0):
    parameters = {"rope_theta": base, "rope_type": scaling, "factor": factor}
    if scaling == "yarn":
        parameters.update(original_max_position_embeddings=original, beta_fast=beta_fast, beta_slow=beta_slow)
    function = rope.ROPE_INIT_FUNCTIONS[scaling]
    frequencies, attention_factor = function(config(head_dim, original, **parameters))
    return {
        "type": scaling, "base": base, "head_dim": head_dim, "factor": factor, "original_context": original,
        "beta_fast": beta_fast, "beta_slow": beta_slow, "frequencies": [float(f) for f in frequencies],
        "attention_factor": float(attention_factor),
    }


json.dump([
    case("linear", 1e6, 256, factor=8.0),
    case("linear", 10000.0, 64, factor=2.5),
    case("yarn", 1e6, 128, original=32768, factor=4.0),
    case("yarn", 1e6, 16, original=16, factor=4.0),
    case("yarn", 10000.0, 128, original=4096, factor=32.0, beta_fast=16.0, beta_slow=2.0),
    case("yarn", 500000.0, 96, original=8192, factor=1.0),
    case("yarn", 1e6, 64, original=4, factor=8.0),
    case("yarn", 10000.0, 2, original=4096, factor=4.0),
    case("yarn", 150000.0, 64, original=131072, factor=16.0, beta_fast=1.0, beta_slow=1.0),
], sys.stdout, indent=1)
print()
