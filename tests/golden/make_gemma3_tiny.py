#!/usr/bin/env python3
"""Makes gemma3-tiny: a Gemma 3 with random weights as GGUF, and what transformers computes with it.

    make_gemma3_tiny.py FOLDER

Needs gguf 0.19.0, torch 2.15.0, transformers 5.24.0. The same seed gives the same files. Names of tensors are those of the
gguf package's own table; keys are those of published Gemma 3 files. Weights are quantised first and the model is given
what the file really holds, so that its type adds nothing to the comparison.
"""
import json
import os
import sys

import gguf
import numpy as np
import torch
import transformers

NAME, TYPE = "gemma3-tiny", gguf.GGMLQuantizationType.Q8_0
SEED, N_PROMPT, N_GREEDY = 5, 48, 16
CONFIG = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_hidden_layers": 7,  # the sixth is global, one sliding layer behind it
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "query_pre_attn_scalar": 64,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-06,
    "sliding_window": 16,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
    },
    "tie_word_embeddings": True,
}


def random_weights(model):
    """Products of unit variance; queries and keys whose product is a few; norms that are not one."""
    random = torch.Generator().manual_seed(SEED)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=random)
        if p.dim() == 2:
            p.data = noise / p.shape[1] ** 0.5
        elif name.endswith("model.norm.weight"):
            p.data = 4 + noise * 0.7
        elif "q_norm" in name or "k_norm" in name:
            p.data = 0.4 + noise * 0.2
        else:
            p.data = noise * 0.2


def write_gguf(model, path):
    """Writes the file and gives the model the values in it."""
    c = model.config
    w = gguf.GGUFWriter(path, "gemma3")
    w.add_type("model")
    w.add_name("Gemma3 Tiny")
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_rope_freq_base(c.rope_parameters["full_attention"]["rope_theta"])
    w.add_sliding_window(c.sliding_window)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(c.rope_parameters["full_attention"]["factor"])
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(["<pad>", "<eos>", "<bos>"] + [f"tok{i}" for i in range(3, c.vocab_size)])
    w.add_token_scores([-float(i) for i in range(c.vocab_size)])
    w.add_token_types([3] * 3 + [1] * (c.vocab_size - 3))
    w.add_bos_token_id(2)
    w.add_eos_token_id(1)
    w.add_pad_token_id(0)
    w.add_add_bos_token(True)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, c.num_hidden_layers)
    types = {}
    for name, p in model.named_parameters():
        out = names.get_name(name, try_suffixes=(".weight",))
        values = p.data.numpy().astype(np.float32)
        if p.dim() == 2:
            data = gguf.quants.quantize(values, TYPE)
            p.data = torch.from_numpy(gguf.quants.dequantize(data, TYPE).copy())
            w.add_tensor(out, data, raw_dtype=TYPE)
            types["Q8_0"] = types.get("Q8_0", 0) + 1
        else:
            w.add_tensor(out, values + 1)  # files hold what is multiplied by
            p.data = torch.from_numpy(values + 1) - 1
            types["F32"] = types.get("F32", 0) + 1
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return types


def main():
    folder = sys.argv[1]
    torch.set_num_threads(1)
    model = transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**CONFIG, attn_implementation="eager")).eval()
    base = os.path.join(folder, NAME)
    random_weights(model)
    types = write_gguf(model, base + ".q8_0.gguf")
    tokens = [2] + np.random.default_rng(SEED).integers(3, CONFIG["vocab_size"], N_PROMPT - 1).tolist()
    prompt = list(tokens)
    with torch.no_grad():
        for _ in range(N_GREEDY):
            tokens.append(int(model(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
        logits = model(torch.tensor([tokens]), use_cache=False).logits[0].numpy()
        states = model(torch.tensor([prompt]), use_cache=False, output_hidden_states=True).hidden_states
    best = np.sort(logits, axis=1)[:, -2:]
    logits.astype("<f4").tofile(base + ".q8_0.logits.f32")
    np.stack([s[0, -1].numpy() for s in states]).astype("<f4").tofile(base + ".q8_0.hidden.f32")
    about = {
        "name": NAME,
        "config": CONFIG,
        "prompt": prompt,
        "n_vocab": CONFIG["vocab_size"],
        "n_layer": CONFIG["num_hidden_layers"],
        "n_embd": CONFIG["hidden_size"],
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "types": {
            "q8_0": {
                "greedy": tokens[N_PROMPT:],
                "tensor_types": types,
                "n_tokens": len(tokens),
                "n_hidden": len(states),
                "logit_rms": float(np.sqrt((logits.astype(np.float64) ** 2).mean())),
                "min_top2_gap": float((best[:, 1] - best[:, 0]).min()),
            }
        },
    }
    with open(base + ".json", "w", encoding="utf-8") as f:
        json.dump(about, f, indent=1)
        f.write("\n")


main()
