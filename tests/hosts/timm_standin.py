"""A plain ViT with the structure and names of timm 1.0's, for machines without timm.

timm brings torchvision, which must match torch to the build, so no test requires it; where it is
installed the tests use it instead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MODULE = 'timm.models.vision_transformer'


class PatchEmbed(nn.Module):
    def __init__(self, img_size: int, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size,) * 2
        self.proj = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)
        self.norm = nn.Identity()

    def dynamic_feat_size(self, img_size: tuple[int, int]) -> tuple[int, int]:
        return tuple(size // patch for size, patch in zip(img_size, self.patch_size))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, qk_norm: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.q_norm = nn.LayerNorm(dim // num_heads) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(dim // num_heads) if qk_norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = self.q_norm(qkv[0]), self.k_norm(qkv[1]), qkv[2]
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, qk_norm: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn, self.mlp = Attention(dim, num_heads, qkv_bias, qk_norm), Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(
        self,
        *,
        img_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        num_classes: int,
        qkv_bias: bool,
        class_token: bool = True,
        reg_tokens: int = 0,
        global_pool: str = 'token',
        qk_norm: bool = False,
        patch_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.global_pool = global_pool
        self.grad_checkpointing = False
        self.patch_embed = PatchEmbed(img_size, patch_size, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if class_token else None
        self.reg_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if reg_tokens else None
        self.num_prefix_tokens = class_token + reg_tokens
        length = (img_size // patch_size) ** 2 + self.num_prefix_tokens
        self.pos_embed = nn.Parameter(torch.zeros(1, length, embed_dim))
        self.patch_drop = nn.Dropout(patch_drop_rate) if patch_drop_rate else nn.Identity()
        self.norm_pre = nn.Identity()
        blocks = (Block(embed_dim, num_heads, qkv_bias, qk_norm) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.Identity()
        self.fc_norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.head = nn.Linear(embed_dim, num_classes)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.grad_checkpointing = enable

    def forward_intermediates(self, x: Tensor) -> list[Tensor]:
        x, maps = self.norm_pre(self.patch_drop(self.patch_embed(x) + self.pos_embed)), []
        for block in self.blocks:
            x = block(x)
            maps.append(x.reshape(len(x), *self.patch_embed.grid_size, -1))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_pre(self.patch_drop(self.patch_embed(x) + self.pos_embed))
        return self.head(self.fc_norm(self.norm(self.blocks(x)).mean(1)))


CLASSES = (PatchEmbed, Attention, Mlp, Block, VisionTransformer)
for _class in CLASSES:
    _class.__module__ = MODULE
