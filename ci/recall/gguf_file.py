"""A GGUF file of the recall model: metadata, vocabulary, tensors in Q8_0 or F16, vectors in F32."""
import os
import struct

import numpy as np

ALIGNMENT = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # types of values
TYPES = {"f32": (0, 0), "f16": (1, 1), "q8_0": (8, 7)}  # of tensors, and general.file_type
BLOCK = 32  # of Q8_0


def quantised(values, kind):
    """(rows, n) float32 as the bytes of that type, and as the values in them."""
    if kind == "f32":
        return values.astype("<f4").tobytes(), values.astype(np.float32)
    if kind == "f16":
        half = values.astype("<f2")
        return half.tobytes(), half.astype(np.float32)
    assert values.shape[1] % BLOCK == 0, "a row is whole blocks"
    blocks = values.astype(np.float32).reshape(-1, BLOCK)
    # The steps are of the scale as it is kept.
    scale = (np.abs(blocks).max(1, keepdims=True) / 127).astype("<f2")
    wide = scale.astype(np.float32)
    steps = np.divide(blocks, wide, out=np.zeros_like(blocks), where=wide > 0)
    steps = np.clip(np.rint(steps), -127, 127).astype(np.int8)
    data = np.concatenate([scale.view(np.uint8), steps.view(np.uint8)], axis=1)
    return data.tobytes(), (steps * wide).reshape(values.shape)


def _string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value):
    """Type and bytes of a value: bool, int, float, str, or a list of one of these."""
    if isinstance(value, bool):
        return BOOL, struct.pack("<B", value)
    if isinstance(value, int):
        return U32, struct.pack("<I", value)
    if isinstance(value, float):
        return F32, struct.pack("<f", value)
    if isinstance(value, str):
        return STRING, _string(value)
    items = [_value(v) for v in value]
    kind = I32 if items[0][0] == U32 else items[0][0]
    return ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(data for _, data in items)


def metadata(shape, vocabulary, kind, name, about):
    sliding = [c == "s" for c in shape.pattern]
    own = {
        "block_count": shape.n_layer,
        "context_length": shape.context,
        "embedding_length": shape.n_embd,
        "feed_forward_length": shape.n_ff,
        "attention.head_count": shape.n_head,
        "attention.head_count_kv": shape.n_kv,
        "attention.key_length": shape.dim_global,
        "attention.value_length": shape.dim_global,
        "attention.key_length_swa": shape.dim_sliding,
        "attention.value_length_swa": shape.dim_sliding,
        "attention.sliding_window": shape.window,
        "attention.sliding_window_pattern": sliding,
        "attention.shared_kv_layers": shape.n_shared,
        "attention.layer_norm_rms_epsilon": shape.eps,
        "rope.freq_base": shape.base_global,
        "rope.freq_base_swa": shape.base_sliding,
        "rope.dimension_count": shape.dim_global,
        "rope.dimension_count_swa": shape.dim_sliding,
        "embedding_length_per_layer_input": shape.n_ple,
        "final_logit_softcapping": shape.softcap,
        "vocab_size": shape.n_vocab,
    }
    out = {"general.architecture": "gemma4", "general.type": "model", "general.name": name,
           "general.description": about, "general.license": "mit"}
    out.update({"gemma4." + key: value for key, value in own.items()})
    out.update({
        "general.file_type": TYPES[kind][1],
        "general.quantization_version": 2,
        "tokenizer.ggml.model": "gemma4",
        "tokenizer.ggml.tokens": vocabulary.pieces,
        "tokenizer.ggml.token_type": vocabulary.types,
        "tokenizer.ggml.merges": [a + " " + b for a, b in vocabulary.merges],
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.ggml.add_bos_token": True,
    })
    return out


def write(path, keys, tensors, kind):
    """tensors: name to float32 array, matrices (n_out, n_in). Returns name to the values that the file holds."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    for key, value in keys.items():
        value_type, data = _value(value)
        head += _string(key) + struct.pack("<I", value_type) + data
    held, data, at = {}, [], 0
    for name, values in tensors.items():
        of = kind if values.ndim > 1 else "f32"
        raw, held[name] = quantised(values, of)
        dims = values.shape[::-1]
        head += _string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, TYPES[of][0], at)
        raw += bytes(-len(raw) % ALIGNMENT)
        data.append(raw)
        at += len(raw)
    head += bytes(-len(head) % ALIGNMENT)
    with open(path + ".part", "wb") as f:
        f.write(head + b"".join(data))
    os.replace(path + ".part", path)
    return held
