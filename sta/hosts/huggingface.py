"""``VideoMAEForVideoClassification`` of Hugging Face's transformers, versions 4 and 5."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .anatomy import Anatomy, Projection, Size, linear, submodule
from .errors import HostModelError


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
        patches = submodule(host, self.embedding_path).patch_embeddings
        rows, columns = (
            size // patch for size, patch in zip(patches.image_size, patches.patch_size)
        )
        return host.config.num_frames // patches.tubelet_size, rows, columns

    def clip(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """(B, 3, frames, H, W) from pixel_values (B, frames, 3, H, W)."""
        return (args[0] if args else kwargs['pixel_values']).transpose(1, 2)

    def grid(self, embedding: nn.Module, clip: Tensor) -> Size:
        """(T, H, W) of tokens of a clip (B, 3, frames, H, W)."""
        patches = embedding.patch_embeddings
        sizes = (patches.tubelet_size, *patches.patch_size)
        return tuple(length // size for length, size in zip(clip.shape[2:], sizes))

    def projection(self, block: nn.Module, part: str) -> Projection:
        """Of 'query', 'key' or 'value'; transformers 4 keeps biases beside the layers."""
        attention = submodule(block, 'attention.attention')
        layer = linear(attention, part)
        bias = layer.bias
        if bias is None:
            bias = getattr(attention, f'{part[0]}_bias', None)
        return Projection(layer.weight, bias, attention.num_attention_heads)

    def checkpointed(self, host: nn.Module) -> bool:
        """Whether ``gradient_checkpointing_enable()`` was called."""
        return any(getattr(module, 'gradient_checkpointing', False) for module in host.modules())
