"""timm's ``VisionTransformer`` over the frames of a clip, with joint space-time tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .anatomy import PARTS, Anatomy, Projection, Size, linear, submodule
from .errors import HostModelError


class TimmViT(Anatomy):
    """An image model that sees all frames of a clip at once.

    It is given the frames as images (B * num_frames, 3, H, W), clip by clip, and puts out one row
    per clip. Every frame is embedded with the positions of an image; then the tokens of a clip's
    frames stand in one row and every block attends to all of them. **This is joint attention: it is
    not the model run frame by frame, pruned or not**, frames have no order but that of pruning, and
    weights trained on images have never seen so many tokens. Only models pooled by the mean over
    patches are taken: a class or register token would stand once per frame.

    Args:
        num_frames: frames of a clip, T.
    """

    embedding_path = 'patch_embed'
    blocks_path = 'blocks'
    norm_path = 'norm1'
    ffn_path = 'mlp'
    refused_methods = ('forward_intermediates',)  # it makes maps of what has no grid any more
    join_path = 'norm_pre'  # the last module before the blocks, behind the position embedding

    def __init__(self, *, num_frames: int | None) -> None:
        whole = isinstance(num_frames, int) and not isinstance(num_frames, bool)
        if not whole or num_frames < 1:
            raise HostModelError(
                f"timm's VisionTransformer sees images: say how many frames make a clip, as "
                f'num_frames=8 (a whole number of at least 1), got {num_frames!r}'
            )
        self.num_frames = num_frames

    def check(self, host: nn.Module) -> None:
        """Raise HostModelError for class or register tokens, other pooling and other blocks."""
        reasons = {
            'class_token=True': getattr(host, 'cls_token', None) is not None,
            'reg_tokens': getattr(host, 'reg_token', None) is not None,
            f'global_pool={host.global_pool!r}': host.global_pool != 'avg',
            'patch_drop_rate': not isinstance(host.patch_drop, nn.Identity),
            type(host.patch_embed).__name__: type(host.patch_embed).__name__ != 'PatchEmbed',
        }
        for block in host.blocks:
            reasons[type(block).__name__] = type(block).__name__ != 'Block'
            if reasons[type(block).__name__]:
                continue
            attention = block.attn
            reasons[type(attention).__name__] = type(attention).__name__ != 'Attention'
            reasons['qk_norm=True'] = not isinstance(
                getattr(attention, 'k_norm', nn.Identity()), nn.Identity
            )
        found = [name for name, refused in reasons.items() if refused]
        if found:
            raise HostModelError(
                f'this VisionTransformer of timm has {", ".join(found)}: over frames sta takes '
                f"those with class_token=False, reg_tokens=0, global_pool='avg', qk_norm=False and "
                f"timm's plain PatchEmbed, Block and Attention"
            )
        submodule(host, self.join_path)

    def grid_of_model(self, host: nn.Module) -> Size:
        """(T, H, W)."""
        return self.num_frames, *host.patch_embed.grid_size

    def clip(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """(B, 3, T, H, W) from the frames (B * T, 3, H, W)."""
        return self._by_clip(args[0] if args else kwargs['x']).transpose(1, 2)

    def grid(self, embedding: nn.Module, clip: Tensor) -> Size:
        """(T, H, W) of tokens."""
        return self.num_frames, *embedding.dynamic_feat_size(tuple(clip.shape[-2:]))

    def projection(self, block: nn.Module, part: str) -> Projection:
        """Rows of qkv and of its bias."""
        layer, which = linear(block, 'attn.qkv'), PARTS.index(part)
        bias = None if layer.bias is None else layer.bias.chunk(3)[which]
        return Projection(layer.weight.chunk(3)[which], bias, block.attn.num_heads)

    def checkpointed(self, host: nn.Module) -> bool:
        """Whether ``set_grad_checkpointing()`` was called."""
        return host.grad_checkpointing

    def join(self, tokens: Tensor) -> Tensor:
        """(B * T, N, C) to (B, T * N, C)."""
        return self._by_clip(tokens).flatten(1, 2)

    def _by_clip(self, frames: Tensor) -> Tensor:
        if len(frames) % self.num_frames:
            raise HostModelError(
                f'{len(frames)} images are no whole number of clips of num_frames={self.num_frames}'
            )
        return frames.unflatten(0, (-1, self.num_frames))
