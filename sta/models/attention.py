"""Transformer block of VideoMAE's ViT with fused attention, under the host's parameter names."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head self-attention with biases on queries and values only.

    Args:
        embed_dims: channels C.
        num_heads: heads, each C / num_heads wide.
        qkv_bias: whether queries and values have a bias (VideoMAE's keys have none).
        qk_scale: factor on the dot products, default 1 / sqrt(head width).
        attn_drop_rate: dropout of attention weights in training.
        drop_rate: dropout of the output in training.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'embed_dims {embed_dims} is no multiple of num_heads {num_heads}')
        self.num_heads = num_heads
        self.scale = qk_scale or (embed_dims // num_heads) ** -0.5
        self.attn_drop_rate = attn_drop_rate
        self.q_bias = nn.Parameter(torch.zeros(embed_dims)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(embed_dims)) if qkv_bias else None
        self.qkv = nn.Linear(embed_dims, embed_dims * 3, bias=False)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor, similarity: str | None = None) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            x: (B, L, C).
            similarity: 'query', 'key' or 'value' to hand out as well, or 'key_and_sharpness';
                None for none.

        Returns:
            (B, L, C), and the asked-for vectors averaged over heads (B, L, D) or None. Sharpness
            comes behind the keys, (B, L, D + 1).
        """
        bias = None
        if self.q_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        q, k, v = rearrange(qkv, 'b l (three h d) -> three b h l d', three=3, h=self.num_heads)
        out = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.attn_drop_rate if self.training else 0.0, scale=self.scale
        )
        feature = {'query': q, 'key': k, 'value': v, 'key_and_sharpness': k}.get(similarity)
        feature = None if feature is None else feature.mean(1)
        if similarity == 'key_and_sharpness':
            feature = torch.cat([feature, sharpness(q, k, self.scale).to(feature)], dim=-1)
        return self.proj_drop(self.proj(rearrange(out, 'b h l d -> b l (h d)'))), feature


@torch.no_grad()
def sharpness(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """How sharply every token attends: the negative entropy of attention averaged over heads.

    Fused attention does not hand out its weights, so they are computed here, a head at a time.

    Args:
        query: (B, H, L, D).
        key: (B, H, L, D).
        scale: factor on the dot products.

    Returns:
        (B, L, 1) float32, from -log(L) for even attention to 0 for a single token.
    """
    heads = zip(query.float().unbind(1), key.float().unbind(1), strict=True)
    total = sum((q @ k.transpose(-1, -2) * scale).softmax(-1) for q, k in heads)
    return -torch.special.entr(total / query.shape[1]).sum(-1, keepdim=True)


class FeedForward(nn.Module):
    """Two linear layers with GELU between; nested as in mmcv's FFN for the sake of its names."""

    def __init__(self, *, embed_dims: int, hidden_dims: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(embed_dims, hidden_dims), nn.GELU(), nn.Dropout(drop_rate)),
            nn.Linear(hidden_dims, embed_dims),
            nn.Dropout(drop_rate),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to (B, L, C)."""
        return self.layers(x)


class Block(nn.Module):
    """Pre-norm transformer block, optionally with LayerScale.

    Args:
        embed_dims: channels C.
        num_heads: attention heads.
        mlp_ratio: hidden width of the feed-forward over C.
        qkv_bias: bias on queries and values.
        qk_scale: factor on the dot products.
        drop_rate: dropout of both branches' outputs.
        attn_drop_rate: dropout of attention weights.
        drop_path_rate: stochastic depth.
        init_values: initial LayerScale; 0 for none.
        norm_cfg: normalisation layer.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_heads: int,
        mlp_ratio: float,
        qkv_bias: bool,
        qk_scale: float | None,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        init_values: float,
        norm_cfg: dict[str, Any],
    ) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = Attention(
            embed_dims=embed_dims,
            num_heads=num_heads,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            attn_drop_rate=attn_drop_rate,
            drop_rate=drop_rate,
        )
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.mlp = FeedForward(
            embed_dims=embed_dims, hidden_dims=int(embed_dims * mlp_ratio), drop_rate=drop_rate
        )
        self.gamma_1 = self.gamma_2 = None
        if init_values > 0:
            self.gamma_1 = nn.Parameter(torch.full((embed_dims,), float(init_values)))
            self.gamma_2 = nn.Parameter(torch.full((embed_dims,), float(init_values)))

    def forward(self, x: Tensor, similarity: str | None = None) -> tuple[Tensor, Tensor | None]:
        """Run the block.

        Args:
            x: (B, L, C).
            similarity: 'query', 'key', 'value', 'key_and_sharpness' or 'ffn' to hand out as well;
                None for none.

        Returns:
            (B, L, C), and the asked-for vectors (B, L, D) or None; 'ffn' is the raw output of the
            feed-forward (D = C), before LayerScale and the residual.
        """
        attended, feature = self.attn(self.norm1(x), similarity)
        x = x + self.drop_path(_scaled(attended, self.gamma_1))
        transformed = self.mlp(self.norm2(x))
        x = x + self.drop_path(_scaled(transformed, self.gamma_2))
        return x, transformed if similarity == 'ffn' else feature


def _scaled(x: Tensor, gamma: Tensor | None) -> Tensor:
    return x if gamma is None else gamma * x
