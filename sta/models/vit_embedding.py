"""From pixels to tokens in VideoMAE's ViT: tubelets and their places."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TubeletEmbed(nn.Module):
    """Tubelets to tokens: a Conv3d whose stride is its kernel.

    Args:
        in_channels: channels of the clip.
        embed_dims: channels C of a token.
        tubelet_size: frames of a tubelet.
        patch_size: rows and columns of a tubelet.
    """

    def __init__(
        self, *, in_channels: int, embed_dims: int, tubelet_size: int, patch_size: int
    ) -> None:
        super().__init__()
        kernel = (tubelet_size, patch_size, patch_size)
        self.projection = nn.Conv3d(in_channels, embed_dims, kernel, stride=kernel)

    def forward(self, clip: Tensor) -> Tensor:
        """Map (B, 3, frames, H, W) to (B, T, H / patch, W / patch, C)."""
        return self.projection(clip).permute(0, 2, 3, 4, 1)


def sine_table(num_positions: int, embed_dims: int) -> Tensor:
    """Fixed sine-cosine position table of VideoMAE.

    Computed as the host does, in the same order and precision, so that tables agree to the bit.

    Args:
        num_positions: tokens of a clip.
        embed_dims: channels C.

    Returns:
        (1, num_positions, C) float32.
    """
    channel = torch.arange(embed_dims, dtype=torch.float64)
    frequency = torch.pow(10000, -(channel - channel % 2) / embed_dims)
    angle = torch.arange(num_positions, dtype=torch.float64)[:, None] * frequency
    table = torch.where(torch.arange(embed_dims) % 2 == 0, angle.sin(), angle.cos())
    return table.float().unsqueeze(0)
