"""Time-dependent attention (DiffiT): the conditioning is part of queries, keys and values."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.layers import Linear


class TimeQKVBlock(Block):
    """A transformer block whose queries, keys and values are linear in the token and in t + c.

    Hatamizadeh et al. 2023 (DiffiT), section 3.2, equations 3 to 8. As in its latent model, the
    final layer is plain. All keys of an image are moved by the same vector, which the softmax
    removes: the projection to keys changes the output only where keys are normalised
    (`model.qk_norm`).
    """

    summary = "t + c projected into the queries, keys and values of all tokens"
    formula = "(q, k, v) = W LN x + W' (t + c);  x + softmax(qkᵀ/√d) v → x + MLP(LN x)"
    source = "Hatamizadeh et al. 2023 (DiffiT), arXiv 2312.02139, §3.2"
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.time_qkv = Linear(spec.hidden_size, 3 * spec.hidden_size, spec.ops)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        added = self.time_qkv(c.vector).unsqueeze(1)  # (N, 1, 3 D)
        x = self.branch(x, lambda y: self.attend(y, added))  # (N, T, D)
        return self.branch(x, self.mlp)

    def attend(self, y: Tensor, added: Tensor) -> Tensor:
        """Self-attention of y (N, T, D), with `added` to queries, keys and values."""
        ops, qkv = self.spec.ops, self.attn.qkv
        parts = qkv.normalise(ops.linear(y, qkv.weight, qkv.bias) + added)
        return self.attn.proj(ops.attention(parts, self.spec.num_heads))
