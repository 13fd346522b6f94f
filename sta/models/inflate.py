"""Weights of an image Swin for a VideoSwin: every spatial kernel and bias repeated over time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .windows import Size

_REMADE = re.compile(r'relative_position_index|attn_mask|^head\.')


def inflate_swin(
    image_weights: Mapping[str, Tensor],
    *,
    patch_frames: int,
    window_size: Size,
    last_norm: str,
) -> dict[str, Tensor]:
    """Turn the weights of an image Swin Transformer into those of a VideoSwin.

    Liu et al., "Video Swin Transformer", CVPR 2022, section 3.3: the embedding is repeated over the
    frames of a tubelet and divided by their number, a position bias is repeated over all distances
    in time.

    Args:
        image_weights: names and tensors of the image model.
        patch_frames: frames of a tubelet.
        window_size: (Wd, Wh, Ww) of the VideoSwin; biases of another (square) window are resized.
        last_norm: what the VideoSwin calls the final norm, e.g. 'norm3'.

    Returns:
        Weights under the names of the VideoSwin; tables that it makes itself and the classifier are
        left out.
    """
    frames, height, width = window_size
    inflated = {}
    for name, tensor in image_weights.items():
        if _REMADE.search(name):
            continue
        if name == 'patch_embed.proj.weight':
            tensor = tensor.unsqueeze(2).repeat(1, 1, patch_frames, 1, 1) / patch_frames
        elif name.endswith('relative_position_bias_table'):
            tensor = _resized(tensor, (2 * height - 1, 2 * width - 1)).repeat(2 * frames - 1, 1)
        elif name.startswith('norm.'):
            name = f'{last_norm}.{name.removeprefix("norm.")}'
        inflated[name] = tensor
    return inflated


def read_weights(path: str) -> dict[str, Tensor]:
    """Tensors of a torch file, bare or below 'model' or 'state_dict'; nothing in it is executed.

    Raises:
        ValueError: it cannot be read as tensors alone.
    """
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file leads to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f'pretrained={path!r} cannot be read: {reason}') from None
    for key in ('model', 'state_dict'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(tensor, Tensor) for tensor in content.values()
    ):
        raise ValueError(f'pretrained={path!r} holds no state dict')
    return {name.removeprefix('backbone.'): tensor for name, tensor in content.items()}


def _resized(table: Tensor, size: tuple[int, int]) -> Tensor:
    """A table of relative positions (rows, heads) for a window of another size."""
    side = math.isqrt(len(table))
    if side * side != len(table) or len(table) == size[0] * size[1]:
        return table
    maps = table.t().reshape(1, -1, side, side)
    maps = F.interpolate(maps, size=size, mode='bicubic')
    return maps.flatten(2).squeeze(0).t()
