"""The recall model: Gemma 4's layer in PyTorch, as its GGUF file has it. Names are the tensors' there.

Sliding and global layers, per-layer embeddings, layers at the end that attend another's cache, norms before and behind
each sublayer, of queries, keys and values, proportional RoPE on global layers, soft-capped logits of a tied embedding.
"""
import dataclasses

import torch
from torch.nn import functional


@dataclasses.dataclass
class Shape:
    """Defaults: the model that is committed. Heads are as wide as those of the tiny golden models."""
    n_vocab: int = 1152
    n_embd: int = 192
    n_ff: int = 512
    n_ple: int = 32
    pattern: str = "ssgssgsg"  # a layer's kind: sliding or global
    n_shared: int = 2  # at the end, which own no keys and values
    n_head: int = 4
    n_kv: int = 2
    dim_sliding: int = 32
    dim_global: int = 64
    window: int = 64
    context: int = 0  # the longest that it is trained on
    base_sliding: float = 10000.0
    base_global: float = 1000000.0
    rotated: float = 0.25  # of a global layer's head
    eps: float = 1e-6
    softcap: float = 30.0

    @property
    def n_layer(self):
        return len(self.pattern)

    def dim(self, layer):
        return self.dim_sliding if self.pattern[layer] == "s" else self.dim_global

    def source(self, layer):
        """The layer whose cache is attended."""
        first = self.n_layer - self.n_shared
        if layer < first:
            return layer
        return max(i for i in range(first) if self.pattern[i] == self.pattern[layer])


class Recall(torch.nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = s = shape
        weights = {}

        def matrix(name, n_out, n_in, spread=1.0):
            weights[name] = torch.randn(n_out, n_in) * spread / n_in ** 0.5

        def vector(name, n, value=1.0):
            weights[name] = torch.full((n,), value)

        matrix("token_embd", s.n_vocab, s.n_embd)
        matrix("per_layer_token_embd", s.n_vocab, s.n_layer * s.n_ple, s.n_layer ** 0.5)
        matrix("per_layer_model_proj", s.n_layer * s.n_ple, s.n_embd)
        vector("per_layer_proj_norm", s.n_ple)
        for i in range(s.n_layer):
            d, at = s.dim(i), f"blk.{i}."
            vector(at + "attn_norm", s.n_embd)
            matrix(at + "attn_q", s.n_head * d, s.n_embd)
            vector(at + "attn_q_norm", d, d ** -0.25)  # products of queries and keys begin with unit variance
            if s.source(i) == i:
                matrix(at + "attn_k", s.n_kv * d, s.n_embd)
                vector(at + "attn_k_norm", d, d ** -0.25)
                matrix(at + "attn_v", s.n_kv * d, s.n_embd)
            matrix(at + "attn_output", s.n_embd, s.n_head * d)
            vector(at + "post_attention_norm", s.n_embd, 0.5)
            vector(at + "ffn_norm", s.n_embd)
            matrix(at + "ffn_gate", s.n_ff, s.n_embd)
            matrix(at + "ffn_up", s.n_ff, s.n_embd)
            matrix(at + "ffn_down", s.n_embd, s.n_ff)
            vector(at + "post_ffw_norm", s.n_embd, 0.5)
            matrix(at + "inp_gate", s.n_ple, s.n_embd)
            matrix(at + "proj", s.n_embd, s.n_ple)
            vector(at + "post_norm", s.n_embd, 0.25)
            vector(at + "layer_output_scale", 1)
        vector("output_norm", s.n_embd)
        self.names = list(weights)
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(w) for w in weights.values())
        self.tables, self.masks = {}, {}

    def named(self):
        return dict(zip(self.names, self.weights))

    def rope_factors(self):
        """What each frequency of a global layer is divided by: all but the rotated part stand still."""
        half = self.shape.dim_global // 2
        out = torch.full((half,), 1e30)
        out[:int(half * self.shape.rotated)] = 1
        return out

    def _rope(self, length, device):
        """cos and sin (length, dim / 2) for both kinds."""
        key = (length, device)
        if key not in self.tables:
            s, out = self.shape, {}
            for kind, base, d in (("s", s.base_sliding, s.dim_sliding), ("g", s.base_global, s.dim_global)):
                frequency = base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
                if kind == "g":
                    frequency = frequency / self.rope_factors().double()
                angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
                out[kind] = angle.cos().float().to(device), angle.sin().float().to(device)
            self.tables = {key: out}
        return self.tables[key]

    def _mask(self, n, blocks, device):
        """Of blocks of a window's length: which of the block before and its own a query sees. (n * blocks, 1, W, 2W)"""
        key = (n, blocks, device)
        if key not in self.masks:
            w = self.shape.window
            q, k = torch.arange(w)[:, None] + w, torch.arange(2 * w)[None]
            sees = (k <= q) & (q - k < w)
            first = sees & (k >= w)
            mask = torch.stack([first] + [sees] * (blocks - 1)) if blocks > 1 else first[None]
            self.masks = {key: mask.repeat(n, 1, 1)[:, None].to(device)}
        return self.masks[key]

    def _norm(self, x, weight=None):
        if x.dtype != torch.float64:
            x = x.float()
        return functional.rms_norm(x, x.shape[-1:], weight, self.shape.eps)

    @staticmethod
    def _turn(x, rope):
        """x: (n, heads, length, dim); element j turns with j + dim / 2."""
        cos, sin = rope
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def _slide(self, q, k, v):
        """Attention to the last `window` tokens, in blocks of that length."""
        w = self.shape.window
        n, heads, length, d = q.shape
        blocks = length // w

        def cut(x):
            return x.view(n, x.shape[1], blocks, w, d).transpose(1, 2)

        def with_before(x):
            x = cut(x)
            before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
            return torch.cat([before, x], 3).reshape(n * blocks, heads, 2 * w, d)

        out = functional.scaled_dot_product_attention(
            cut(q).reshape(n * blocks, heads, w, d), with_before(k), with_before(v),
            attn_mask=self._mask(n, blocks, q.device), scale=1.0)
        return out.view(n, blocks, heads, w, d).transpose(1, 2).reshape(n, heads, length, d)

    def forward(self, ids):
        """ids: (n, length), a multiple of the window. Returns logits (n, length, n_vocab), not yet capped."""
        s, t = self.shape, self.named()
        n, length = ids.shape
        rope = self._rope(length, ids.device)
        linear = functional.linear
        h = functional.embedding(ids, t["token_embd"]) * s.n_embd ** 0.5
        own = functional.embedding(ids, t["per_layer_token_embd"]).view(n, length, s.n_layer, s.n_ple) * s.n_ple ** 0.5
        projected = linear(h, t["per_layer_model_proj"]).view(n, length, s.n_layer, s.n_ple) / s.n_embd ** 0.5
        ple = (self._norm(projected, t["per_layer_proj_norm"]) + own) / 2 ** 0.5
        caches = {}
        for i in range(s.n_layer):
            at = f"blk.{i}."
            w = {name[len(at):]: p for name, p in t.items() if name.startswith(at)}
            kind, d = s.pattern[i], s.dim(i)

            def heads(name, x):
                return linear(x, w[name]).view(n, length, -1, d).transpose(1, 2)

            x = self._norm(h, w["attn_norm"])
            q = self._turn(self._norm(heads("attn_q", x), w["attn_q_norm"]), rope[kind])
            if s.source(i) == i:
                k = self._turn(self._norm(heads("attn_k", x), w["attn_k_norm"]), rope[kind])
                v = self._norm(heads("attn_v", x))
                if torch.is_autocast_enabled(ids.device.type):
                    k, v = k.bfloat16(), v.bfloat16()
                caches[i] = k, v
            k, v = (x.repeat_interleave(s.n_head // s.n_kv, 1) for x in caches[s.source(i)])
            q = q.to(k.dtype)
            if kind == "s":
                a = self._slide(q, k, v)
            else:
                a = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
            a = linear(a.transpose(1, 2).reshape(n, length, -1), w["attn_output"])
            h = h + self._norm(a, w["post_attention_norm"])
            x = self._norm(h, w["ffn_norm"])
            f = functional.gelu(linear(x, w["ffn_gate"]), approximate="tanh") * linear(x, w["ffn_up"])
            h = h + self._norm(linear(f, w["ffn_down"]), w["post_ffw_norm"])
            g = functional.gelu(linear(h, w["inp_gate"]), approximate="tanh") * ple[:, :, i]
            h = h + self._norm(linear(g, w["proj"]), w["post_norm"])
            h = h * w["layer_output_scale"]
        return linear(self._norm(h, t["output_norm"]), t["token_embd"])

    def cap(self, logits):
        if logits.dtype != torch.float64:
            logits = logits.float()
        return self.shape.softcap * torch.tanh(logits / self.shape.softcap)
