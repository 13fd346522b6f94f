"""Merging that spares what attention looks at sharply, in the manner of vid-TLDR.

Choi et al., "vid-TLDR: Training Free Token Merging for Light-weight Video Transformer", CVPR 2024,
approximated from the paper: :class:`SaliencyMergePruner` says what differs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Pruned, Pruner, StageContext, full_precision, tokens_per_chunk
from .schedule import PruningStage
from .tome import merge_rounds


class SaliencyMergePruner(Pruner, name='vid-tldr'):
    """ToMe's merging with tokens weighted by how sharply they attend; background weighs nothing.

    The saliency of a token is the negative entropy of its row of the block's attention, mean over
    heads, scaled to [0, 1] over the clip; below the clip's mean it is background and counts 0. A
    merged token is the mean of its members weighted by saliency and size; where all are background,
    by size alone.

    As in the paper: saliency from attention alone, the background mask at the mean, matching by
    keys, saliency as the mass of merging. Other than there: it merges at the schedule's stages, so
    that methods compare at equal cost (the paper: in the first blocks, more at a time); attention
    is not weighted by mass, and stays fused; attention maps are computed a second time for the
    saliency of the stages' blocks, which counts in the GFLOPs.
    """

    merges = True
    similarity = 'key_and_sharpness'

    def __call__(
        self, tokens: Tensor, features: Tensor, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Merge one stage; tokens (B, L, C), features (B, L, D + 1), the last one sharpness."""
        tokens_per_chunk(tokens.shape[1], stage.num_chunks, stage.num_drop)
        with full_precision(tokens.device.type):
            features = features.detach().float()
            mass = saliency(features[..., -1])
            if context.sizes is not None:
                mass = mass * context.sizes
            return merge_rounds(
                tokens, features[..., :-1], context.sizes, stage.total_drop, mass=mass
            )


def saliency(sharpness: Tensor) -> Tensor:
    """Min-max scaled sharpness, 0 where it is below the clip's mean.

    Args:
        sharpness: (B, L) float32, negative entropy of attention.

    Returns:
        (B, L) in [0, 1]; all 0 where every token is equally sharp.
    """
    low = sharpness.amin(-1, keepdim=True)
    span = sharpness.amax(-1, keepdim=True) - low
    scaled = (sharpness - low) / span.clamp_min(torch.finfo(sharpness.dtype).tiny)
    return scaled * (scaled >= scaled.mean(-1, keepdim=True))
