"""Where a vision transformer of somebody else's keeps what pruning needs: one subclass per host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.errors import HostModelError
from sta.pruning import Pruner, build_pruner
from sta.pruning.stages import Size

PARTS = ('query', 'key', 'value')


class Projection(NamedTuple):
    """One of a block's projections of normalised tokens to queries, keys or values.

    Attributes:
        weight: (H * D, C).
        bias: (H * D,) or None.
        num_heads: H.
    """

    weight: Tensor
    bias: Tensor | None
    num_heads: int


def head_mean(normed: Tensor, projection: Projection) -> Tensor:
    """Project (B, L, C) and average over heads: (B, L, D), without gradient.

    The mean of projections is the projection by their mean, at 1 / H of the cost.
    """
    weight, bias, num_heads = projection
    with torch.no_grad():
        weight = weight.unflatten(0, (num_heads, -1)).mean(0)
        if bias is not None:
            bias = bias.unflatten(0, (num_heads, -1)).mean(0)
        return F.linear(normed, weight, bias)


class Anatomy(ABC):
    """What differs between hosts; holds settings only, so it can be pickled.

    Attributes:
        embedding_path: module of the host that is given the pixels.
        blocks_path: its transformer blocks.
        norm_path: module of a block whose output attention reads.
        ffn_path: module of a block that puts out its feed-forward, before LayerScale and residual.
        join_path: module of the host whose output :meth:`join` replaces; None for none.
        refused_methods: of the host, which cannot work while tokens are dropped.
    """

    embedding_path: str
    blocks_path: str
    norm_path: str
    ffn_path: str
    join_path: str | None = None
    refused_methods: tuple[str, ...] = ()

    @abstractmethod
    def check(self, host: nn.Module) -> None:
        """Raise HostModelError for a model whose result would not be that of pruning."""

    @abstractmethod
    def grid_of_model(self, host: nn.Module) -> Size:
        """(T, H, W) of tokens of the clips the model is made for."""

    @abstractmethod
    def clip(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """(B, 3, frames, H, W) from what the embedding was called with."""

    @abstractmethod
    def grid(self, embedding: nn.Module, clip: Tensor) -> Size:
        """(T, H, W) of tokens of this clip."""

    @abstractmethod
    def projection(self, block: nn.Module, part: str) -> Projection:
        """Of 'query', 'key' or 'value'."""

    def checkpointed(self, host: nn.Module) -> bool:
        """Whether blocks recompute their activations in the backward pass."""
        return False

    def join(self, tokens: Tensor) -> Tensor:
        """What becomes of the output of ``join_path``; nothing."""
        return tokens

    def blocks(self, host: nn.Module) -> list[nn.Module]:
        """The transformer blocks in order."""
        return list(submodule(host, self.blocks_path).children())

    def check_structure(self, host: nn.Module) -> None:
        """Raise HostModelError unless everything is where this class expects it.

        Libraries move their modules between versions, and adapters put others in their places.
        """
        submodule(host, self.embedding_path)
        for block in self.blocks(host):
            submodule(block, self.norm_path)
            submodule(block, self.ffn_path)
            for part in PARTS:
                self.projection(block, part)


def submodule(module: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path.

    Raises:
        HostModelError: there is none.
    """
    try:
        return module.get_submodule(path)
    except AttributeError:
        kind = type(module)
        raise HostModelError(
            f'{kind.__name__} of {kind.__module__.split(".")[0]} has no {path!r} here: this '
            f'version of it, or what was put into it, is not known to sta'
        ) from None


def linear(module: nn.Module, path: str) -> nn.Linear:
    """The plain linear layer at a dotted path.

    Raises:
        HostModelError: something else stands there, such as an adapter or quantised weights, whose
            output is not that of its ``weight``.
    """
    layer = submodule(module, path)
    if isinstance(layer, nn.Linear) and layer.weight.is_floating_point():
        return layer
    raise HostModelError(
        f'{path!r} of {type(module).__name__} is a {type(layer).__name__}, not a plain '
        f'torch.nn.Linear: merge adapters first (merge_and_unload), and do not quantise'
    )


class HuggingFaceVideoMAE(Anatomy):
    """Its clips are (B, frames, 3, H, W), of one size; its mean pooling sees the kept tokens."""

    embedding_path = 'videomae.embeddings'
    blocks_path = 'videomae.encoder.layer'
    norm_path = 'layernorm_before'
    ffn_path = 'output.dropout'  # behind the second linear layer, before the residual

    def check(self, host: nn.Module) -> None:
        """Raise HostModelError for a model that is pooled at its first token."""
        if getattr(host, 'fc_norm', None) is None:
            raise HostModelError(
                'this VideoMAEForVideoClassification reads its first token alone, which pruning '
                'may drop: tokens can only be dropped where the kept ones are pooled '
                '(config.use_mean_pooling=True)'
            )

    def grid_of_model(self, host: nn.Module) -> Size:
        """(T, H, W), from the embedding's own numbers and the config's frames."""
        patches: Any = submodule(host, self.embedding_path).patch_embeddings
        config: Any = host.config
        rows, columns = (
            size // patch for size, patch in zip(patches.image_size, patches.patch_size)
        )
        return config.num_frames // patches.tubelet_size, rows, columns

    def clip(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """(B, 3, frames, H, W) from pixel_values (B, frames, 3, H, W)."""
        return (args[0] if args else kwargs['pixel_values']).transpose(1, 2)

    def grid(self, embedding: nn.Module, clip: Tensor) -> Size:
        """(T, H, W) of tokens of a clip (B, 3, frames, H, W)."""
        patches: Any = embedding.patch_embeddings
        sizes = (patches.tubelet_size, *patches.patch_size)
        return tuple(length // size for length, size in zip(clip.shape[2:], sizes))

    def projection(self, block: nn.Module, part: str) -> Projection:
        """Of 'query', 'key' or 'value'; transformers 4 keeps biases beside the layers."""
        attention: Any = submodule(block, 'attention.attention')
        layer = linear(attention, part)
        bias: Tensor | None = layer.bias
        if bias is None:
            bias = getattr(attention, f'{part[0]}_bias', None)
        return Projection(layer.weight, bias, attention.num_attention_heads)

    def checkpointed(self, host: nn.Module) -> bool:
        """Whether ``gradient_checkpointing_enable()`` was called."""
        return any(getattr(module, 'gradient_checkpointing', False) for module in host.modules())


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
        vit: Any = host
        rows, columns = vit.grid_size
        return vit.pos_embed.shape[1] // prod((rows, columns)), rows, columns

    def clip(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """The clip, as it is."""
        return args[0] if args else kwargs['x']

    def grid(self, embedding: nn.Module, clip: Tensor) -> Size:
        """(T, H, W) of tokens; pixels beyond the last whole tubelet are not seen."""
        projection: Any = embedding.projection
        sizes = projection.kernel_size
        return tuple(length // size for length, size in zip(clip.shape[2:], sizes))

    def projection(self, block: nn.Module, part: str) -> Projection:
        """Rows of qkv; the host adds its biases of queries and values itself."""
        layer = linear(block, 'attn.qkv')
        attention: Any = block.attn
        bias = getattr(attention, f'{part[0]}_bias', None)
        return Projection(layer.weight.chunk(3)[PARTS.index(part)], bias, attention.num_heads)


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
        if not isinstance(num_frames, int) or isinstance(num_frames, bool) or num_frames < 1:
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
        for block in self.blocks(host):
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
        embedding: Any = host.patch_embed
        rows, columns = embedding.grid_size
        return self.num_frames, rows, columns

    def clip(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """(B, 3, T, H, W) from the frames (B * T, 3, H, W)."""
        return self._by_clip(args[0] if args else kwargs['x']).transpose(1, 2)

    def grid(self, embedding: nn.Module, clip: Tensor) -> Size:
        """(T, H, W) of tokens."""
        patches: Any = embedding
        rows, columns = patches.dynamic_feat_size(tuple(clip.shape[-2:]))
        return self.num_frames, rows, columns

    def projection(self, block: nn.Module, part: str) -> Projection:
        """Rows of qkv and of its bias."""
        layer, which = linear(block, 'attn.qkv'), PARTS.index(part)
        attention: Any = block.attn
        bias = None if layer.bias is None else layer.bias.chunk(3)[which]
        return Projection(layer.weight.chunk(3)[which], bias, attention.num_heads)

    def checkpointed(self, host: nn.Module) -> bool:
        """Whether ``set_grad_checkpointing()`` was called."""
        return bool(host.grad_checkpointing)

    def join(self, tokens: Tensor) -> Tensor:
        """(B * T, N, C) to (B, T * N, C)."""
        return self._by_clip(tokens).flatten(1, 2)

    def _by_clip(self, frames: Tensor) -> Tensor:
        if len(frames) % self.num_frames:
            raise HostModelError(
                f'{len(frames)} images are no whole number of clips of num_frames={self.num_frames}'
            )
        return frames.unflatten(0, (-1, self.num_frames))


# Whom each is for. VideoSwin's windows need more than an adapter, see :mod:`sta.hosts.swin`.
HOSTS: dict[str, type[Anatomy] | None] = {
    'transformers.VideoMAEForVideoClassification': HuggingFaceVideoMAE,
    'mmaction.VisionTransformer': MMActionViT,
    'mmaction.SwinTransformer3D': None,
    'timm.VisionTransformer': TimmViT,
}


def usable_pruner(pruner: Any, host_name: str) -> Pruner:
    """Build a pruner and refuse those that need more of a model than dropping tokens.

    Args:
        pruner: settings dict(type=..., ...), a pruner, or None for STAPruner.
        host_name: for messages.

    Raises:
        PrunerError: unknown settings.
        HostModelError: it merges tokens, or drops them at the input.
    """
    pruner = build_pruner(pruner or {'type': 'STAPruner'})
    name = type(pruner).__name__
    if pruner.merges:
        raise HostModelError(
            f'{name} merges tokens, which must count as often as the tokens they were made of, but '
            f'{host_name} pools by a plain mean: use a pruner that drops, such as STAPruner, or '
            f"sta's own STAVisionTransformer"
        )
    if pruner.at_input:
        raise HostModelError(
            f'{name} drops at the input whatever the schedule, a different number from every clip, '
            f"which {host_name} cannot run as one batch: use sta's own STAVisionTransformer"
        )
    return pruner
