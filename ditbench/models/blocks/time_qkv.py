"""Time-dependent attention (DiffiT): the conditioning is part of queries, keys and values."""

from __future__ import annotations

from torch import Tensor

from ditbench.models.blocks.base import Block, Conditioning, Spec
from ditbench.models.layers import Linear


class TimeQKVBlock(Block):
    """A transformer block whose queries, keys and values are linear in the token and in t + c.

    Hatamizadeh et al. 2023 (DiffiT), section 3.2, equations 3 to 8. As in its latent model, the
    class embedding is added to that of the timestep, and the final layer is plain. Choices made
    here: the paper's relative position bias is left out, because positions are the same in all
    blocks here; the projection of t + c has a bias, like every linear layer, and starts
    Xavier-uniform as one 3D x D matrix, like the tokens'.

    All keys of an image are moved by the same vector, which adds the same number to all scores of a
    query: the softmax removes it. So the projection to keys changes the output only where keys are
    normalised (`model.qk_norm`). It is kept, as in the paper.
    """

    summary = "t + c projected into the queries, keys and values of all tokens"
    formula = "(q, k, v) = W LN x + W' (t + c);  x + softmax(qkᵀ/√d) v → x + MLP(LN x)"
    source = "Hatamizadeh et al. 2023 (DiffiT), arXiv 2312.02139, §3.2"
    fused = True

    def __init__(self, spec: Spec, index: int) -> None:
        super().__init__(spec, index)
        self.time_qkv = Linear(spec.hidden_size, 3 * spec.hidden_size, spec.ops)

    def forward(self, x: Tensor, c: Conditioning) -> Tensor:
        """Transform the tokens x (N, T, D)."""
        added = self.time_qkv(c.vector).unsqueeze(1)
        x = self.branch(x, lambda y: self.attend(y, added))
        return self.branch(x, self.mlp)

    def attend(self, y: Tensor, added: Tensor) -> Tensor:
        """Self-attention of y (N, T, D), with `added` (N, 1, 3 D) to queries, keys and values."""
        ops, qkv = self.spec.ops, self.attn.qkv
        parts = qkv.normalise(ops.linear(y, qkv.weight, qkv.bias) + added)
        return self.attn.proj(ops.attention(parts, self.spec.num_heads))
