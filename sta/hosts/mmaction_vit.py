"""mmaction2's own ``VisionTransformer`` (VideoMAE), bare or inside a recognizer."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import Tensor, nn

from .anatomy import PARTS, Anatomy, Projection, Size, linear
from .errors import HostModelError


class MMActionViT(Anatomy):
    """Clips (B, 3, frames, H, W) of any resolution; queries, keys and values are one matrix."""

    embedding_path = 'patch_embed'
    blocks_path = 'blocks'
    norm_path = 'norm1'
    ffn_path = 'mlp'

    def check(self, host: nn.Module) -> None:
        """Raise HostModelError where the tokens are not pooled by their mean."""
        if host.fc_norm is None or host.return_feat_map:
            raise HostModelError(
                'tokens can only be dropped where the kept ones are pooled: this VisionTransformer '
                'needs use_mean_pooling=True and return_feat_map=False'
            )

    def grid_of_model(self, host: nn.Module) -> Size:
        """(T, H, W) that the position table is made for."""
        rows, columns = host.grid_size
        return host.pos_embed.shape[1] // prod((rows, columns)), rows, columns

    def clip(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """The clip, as it is."""
        return args[0] if args else kwargs['x']

    def grid(self, embedding: nn.Module, clip: Tensor) -> Size:
        """(T, H, W) of tokens; pixels beyond the last whole tubelet are not seen."""
        sizes = embedding.projection.kernel_size
        return tuple(length // size for length, size in zip(clip.shape[2:], sizes))

    def projection(self, block: nn.Module, part: str) -> Projection:
        """Rows of qkv; the host adds its biases of queries and values itself."""
        layer = linear(block, 'attn.qkv')
        bias = getattr(block.attn, f'{part[0]}_bias', None)
        return Projection(layer.weight.chunk(3)[PARTS.index(part)], bias, block.attn.num_heads)
