#!/usr/bin/env python3
"""Writes the small GGUF files of test/data/gguf from the tiny reference models, with the gguf package (PyPI).

usage: make_tiny_gguf.py GOLDEN/tiny OUT

One file per family in f32, one split in three, and one ("mixed") whose matrices are in seven element types, with what
gguf-py reads back from it, in Hugging Face layout, beside it. What llama.cpp's converter does to weights is done here by
its own code for the same purpose: rows of q and k interleaved for the architecture "llama", 1 added to Gemma's norms.
"""
import json
import math
import os
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file, save_file

HEAD = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
PLAIN_NORM = {"post_attention_layernorm": "ffn_norm"}
GEMMA_NORM = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
              "post_feedforward_layernorm": "post_ffw_norm"}
BERT = {
    "embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
}


def gguf_name(name, arch):
    if arch == "bert":
        name = name.removeprefix("bert.")
        if name.startswith("embeddings."):
            module, kind = name.rsplit(".", 1)
            return f"{BERT[module]}.{kind}"
        _, _, layer, rest = name.split(".", 3)
        module, kind = rest.rsplit(".", 1)
        return f"blk.{layer}.{BERT[module]}.{kind}"
    name = name.removeprefix("model.")
    if name in HEAD:
        return HEAD[name]
    _, layer, rest = name.split(".", 2)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{(LAYER | (GEMMA_NORM if arch == 'gemma3' else PLAIN_NORM))[module]}.{kind}"


def interleave(w, n_heads):
    """Halves of every head's rows, one after the other, become pairs: (h, 2, D/2) -> (h, D/2, 2)."""
    return np.ascontiguousarray(w.reshape(n_heads, 2, -1, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape))


def separate(w, n_heads):
    return np.ascontiguousarray(w.reshape(n_heads, -1, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape))


def heads(name, config):
    if "self_attn.q_proj" in name:
        return config["num_attention_heads"]
    if "self_attn.k_proj" in name:
        return config["num_key_value_heads"]
    return 0


def llama3_divisors(config):
    rope, dim = config["rope_parameters"], config["head_dim"]
    out = []
    for i in range(0, dim, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / dim)
        low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
        high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
        if wave < high:
            out.append(1.0)
        elif wave > low:
            out.append(rope["factor"])
        else:
            smooth = (rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"])
            out.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def write_metadata(w, arch, config):
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(config["num_attention_heads"])
    if arch == "bert":
        w.add_layer_norm_eps(config["layer_norm_eps"])
        w.add_causal_attention(False)
        return
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "head_dim" in config:
        w.add_key_length(config["head_dim"])
        w.add_value_length(config["head_dim"])
    rope = config["rope_parameters"]
    w.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if arch == "gemma3":
        w.add_sliding_window(config["sliding_window"])
        w.add_array("gemma3.attention.sliding_window_pattern",
                    [t == "sliding_attention" for t in config["layer_types"]])
        w.add_attention_scale(config["query_pre_attn_scalar"] ** -0.5)


def write(folder, arch, path, types=None, expected=None, **split):
    config = json.load(open(f"{folder}/config.json"))
    weights = load_file(f"{folder}/model.safetensors")
    w = gguf.GGUFWriter(path, arch, **split)
    write_metadata(w, arch, config)
    if config.get("rope_parameters", {}).get("rope_type") == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(config))
    read_back = {}
    for i, (name, value) in enumerate(sorted(weights.items())):
        stored = value.astype(np.float32)
        n = heads(name, config) if arch == "llama" else 0
        if n:
            stored = interleave(stored, n)
        if arch == "gemma3" and stored.ndim == 1:
            stored = stored + np.float32(1)
        kind = gguf.GGMLQuantizationType.F32
        if types and stored.ndim == 2:
            kind = types[i % len(types)]
        data = gguf.quantize(stored, kind)
        w.add_tensor(gguf_name(name, arch), data, raw_dtype=kind)
        plain = gguf.dequantize(data, kind).astype(np.float32).reshape(stored.shape)
        read_back[name] = separate(plain, n) if n else plain
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    if expected:
        save_file(read_back, expected)


def main():
    golden, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for name, arch in [("llama", "llama"), ("llama3", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3"),
                       ("gemma3_text", "gemma3"), ("bert", "bert")]:
        write(f"{golden}/{name}/model", arch, f"{out}/{name}.gguf")
    t = gguf.GGMLQuantizationType
    write(f"{golden}/mistral/model", "llama", f"{out}/mixed.gguf", [t.Q4_0, t.Q4_1, t.Q5_0, t.Q5_1, t.Q8_0, t.F16, t.BF16],
          f"{out}/mixed.expected.safetensors")
    write(f"{golden}/llama/model", "llama", f"{out}/split.gguf", split_max_tensors=12)


main()
