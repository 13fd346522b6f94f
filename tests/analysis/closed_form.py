"""Multiply-accumulates of a pruned ViT from a closed form, written from the definition of the cost.

Counted: patch embedding, qkv, attention as Nq * Nk * (Dk + Dv) per head, projection, feed-forward,
5 per element of a LayerNorm, the head, and the matrix products of the pruning itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Stage(NamedTuple):
    after_block: int
    num_chunks: int
    num_drop: int


@dataclass(frozen=True)
class ViT:
    """Sizes of a model; the defaults are VideoMAE's at 16 x 224 x 224."""

    width: int
    depth: int
    heads: int
    classes: int = 400
    frames_tokens: int = 8
    tokens_per_frame: int = 196
    patch_volume: int = 3 * 2 * 16 * 16
    mlp_ratio: float = 4.0

    @property
    def num_tokens(self) -> int:
        return self.frames_tokens * self.tokens_per_frame

    def stages(self, num_drop: int) -> list[Stage]:
        """After blocks 0, L//3, 2L//3 with T, T/2, T/4 chunks."""
        return [Stage(i * self.depth // 3, self.frames_tokens // 2**i, num_drop) for i in range(3)]

    def block(self, tokens: int) -> int:
        C = self.width
        linear = 3 * C * C + C * C + 2 * C * int(C * self.mlp_ratio)
        attention = self.heads * tokens * tokens * 2 * (C // self.heads)
        return tokens * linear + attention + 2 * 5 * tokens * C

    def total(self, stages: list[Stage]) -> int:
        """Without what the stages themselves cost."""
        tokens = self.num_tokens
        macs = tokens * self.patch_volume * self.width
        for block in range(self.depth):
            macs += self.block(tokens)
            tokens -= sum(s.num_chunks * s.num_drop for s in stages if s.after_block == block)
        return macs + 5 * self.width + self.width * self.classes

    def sta(self, stages: list[Stage]) -> tuple[int, int]:
        """Similarity products of the stages, and the products P @ A, both over head-mean keys."""
        tokens, width = self.num_tokens, self.width // self.heads
        similarities = accumulations = 0
        for _, num_chunks, num_drop in stages:
            per_chunk = tokens // num_chunks
            even = (per_chunk + 1) // 2
            similarities += even * (per_chunk - even) * width  # ToMe in the first chunk
            for chunk in range(1, num_chunks):
                before = per_chunk if chunk == 1 else per_chunk - num_drop
                similarities += per_chunk * before * width
                accumulations += per_chunk * before
            tokens -= num_chunks * num_drop
        return similarities, accumulations

    def merging(self, stages: list[Stage]) -> int:
        """ToMe on all tokens of a clip: even against odd, again where more than half must go."""
        tokens, width, macs = self.num_tokens, self.width // self.heads, 0
        for _, num_chunks, num_drop in stages:
            left = num_chunks * num_drop
            while left:
                even = (tokens + 1) // 2
                macs += even * (tokens - even) * width
                merged = min(left, tokens // 2)
                tokens, left = tokens - merged, left - merged
        return macs


SIZES = {
    's': ViT(width=384, depth=12, heads=6),
    'b': ViT(width=768, depth=12, heads=12),
    'l': ViT(width=1024, depth=24, heads=16),
    'h': ViT(width=1280, depth=32, heads=16),
}
# GFLOPs per view of the released models at r, measured with fvcore; 400 classes.
MEASURED = {
    's': {0: 56.95, 16: 49.15, 32: 41.81, 48: 35.03, 64: 28.80, 80: 23.14, 96: 18.04},
    'b': {0: 180.49, 16: 157.90, 32: 136.32, 48: 115.86, 64: 96.53, 80: 78.31, 96: 61.21},
    'l': {0: 597.22, 16: 520.39, 32: 446.66, 48: 376.10, 64: 308.74, 80: 244.56, 96: 183.56},
    'h': {0: 1191.64, 64: 611.49},
}
