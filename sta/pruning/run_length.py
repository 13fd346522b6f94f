"""Run-length tokenization (RLT): tubelets that do not change never reach the first block.

Choudhury et al., "Don't Look Twice: Faster Video Transformers with Run-Length Tokenization",
NeurIPS 2024, re-implemented from the paper, as it is used without training: no length encoding.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange, reduce
from torch import Tensor

from .base import Pruner
from .schedule import PruningStage


class RunLengthPruner(Pruner, name='rlt'):
    """Drop every tubelet that shows what the one before it showed, before the first block.

    How many go depends on the clip, so clips run one by one, and what this costs is an average over
    the clips that were seen. It takes no schedule: the threshold says how much goes. Here all
    tubelets are embedded before some are dropped, about 1 % of a ViT-B.

    Args:
        threshold: of the mean absolute difference between the first frame of a tubelet and the last
            frame of the next one, in units of the normalised pixels; below it the next one goes.
            The paper's 0.1.

    Raises:
        ValueError: a threshold that is negative or no number.
    """

    at_input = True
    amount = 'threshold'

    def __init__(self, *, threshold: float = 0.1) -> None:
        number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
        if not number or not math.isfinite(threshold) or threshold < 0:
            raise ValueError(f'threshold must be a number of at least 0, got {threshold!r}')
        self.threshold = float(threshold)

    def check(self, stage: PruningStage) -> None:
        """Refuse every stage.

        Raises:
            ValueError: always.
        """
        raise ValueError('run-length tokenization drops at the input and takes no schedule')

    def kept_at_input(self, clip: Tensor, grid: tuple[int, int, int]) -> list[Tensor]:
        """Which tokens are computed at all.

        Args:
            clip: (B, 3, frames, H, W), normalised.
            grid: (T, rows, columns) of its tokens.

        Returns:
            For each clip (L_i,) int64 places in the T * rows * columns tokens, ascending; the
            first frame of tokens is always there.
        """
        changes = tubelet_changes(clip, grid) >= self.threshold
        kept = torch.cat([torch.ones_like(changes[:, :1]), changes], dim=1).flatten(1)
        return [row.nonzero().squeeze(-1) for row in kept]


def tubelet_changes(clip: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """How much every tubelet differs from the one before it (RLT, section 3).

    Args:
        clip: (B, 3, frames, H, W).
        grid: (T, rows, columns); frames, H and W are multiples of these.

    Returns:
        (B, T - 1, rows * columns) float32: mean absolute difference over pixels and channels
        between the first frame of a tubelet and the last frame of the next.
    """
    frames, rows, columns = grid
    tubelets = clip.float().unflatten(2, (frames, -1))
    difference = (tubelets[:, :, 1:, -1] - tubelets[:, :, :-1, 0]).abs()
    changes = reduce(difference, 'b c t (h p) (w q) -> b t h w', 'mean', h=rows, w=columns)
    return rearrange(changes, 'b t h w -> b t (h w)')
