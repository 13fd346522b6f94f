"""Token merging (ToMe) and its dropping sibling, behind the interface of STA.

Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, re-implemented from the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import (
    SIMILARITIES,
    Pruned,
    Pruner,
    StageContext,
    check_choice,
    full_precision,
    select_tokens,
    tokens_per_chunk,
)
from .schedule import PruningStage
from .sta import normalise


class ToMeMergePruner(Pruner, name='tome'):
    """Token merging: average the most similar tokens instead of dropping any.

    A stage merges num_chunks * num_drop pairs with all tokens of the clip as one set, as the
    authors do on video. Proportional attention is off: these are weights that were never trained
    with it, and attention stays the fused one. Means are weighted by the number of input tokens, in
    the final pooling too.

    Args:
        similarity: what is compared by cosine: 'query', 'key', 'value' or 'ffn'.
    """

    merges = True

    def __init__(self, *, similarity: str = 'key') -> None:
        check_choice(similarity, SIMILARITIES, 'similarity')
        self.similarity = similarity

    def __call__(
        self, tokens: Tensor, features: Tensor, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Merge one stage; tokens (B, L, C), features (B, L, D)."""
        tokens_per_chunk(tokens.shape[1], stage.chunks, stage.num_drop)
        with full_precision(tokens.device.type):
            features = features.detach().float()
            return merge_rounds(tokens, features, context.sizes, stage.total_drop)


class ToMeDropPruner(Pruner, name='tome-drop'):
    """ToMe without the averaging: of every pair that would be merged, one token is dropped.

    A stage drops num_chunks * num_drop tokens with all tokens of the clip as one set, in rounds
    when more than half must go.

    Args:
        similarity: what is compared by cosine: 'query', 'key', 'value' or 'ffn'.
    """

    def __init__(self, *, similarity: str = 'key') -> None:
        check_choice(similarity, SIMILARITIES, 'similarity')
        self.similarity = similarity

    def __call__(
        self, tokens: Tensor, features: Tensor, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage; tokens (B, L, C), features (B, L, D); kept indices ascend."""
        tokens_per_chunk(tokens.shape[1], stage.chunks, stage.num_drop)
        kept = torch.arange(tokens.shape[1], device=tokens.device).repeat(tokens.shape[0], 1)
        left = stage.total_drop
        with torch.no_grad(), full_precision(tokens.device.type):
            features = normalise(features.detach())
            while left:
                num_drop = min(left, kept.shape[1] // 2)
                _, _, rest = match_pairs(features, num_drop)
                features, kept = select_tokens(features, rest), kept.gather(1, rest)
                left -= num_drop
        return Pruned(select_tokens(tokens, kept), kept)


def merge_rounds(
    tokens: Tensor,
    features: Tensor,
    sizes: Tensor | None,
    num_merge: int,
    *,
    mass: Tensor | None = None,
) -> Pruned:
    """Merge pairs in rounds of at most half the tokens.

    Args:
        tokens: (B, L, C).
        features: (B, L, D) float32, what is compared; merged like the tokens.
        sizes: (B, L) float32, how many input tokens each one stands for; None: one each.
        num_merge: pairs.
        mass: (B, L) float32, what a token weighs in a mean; default its size, which also serves
            where all of a pair weighs nothing.

    Returns:
        What is left, in natural order, tokens in their own dtype.
    """
    if sizes is None:
        sizes = torch.ones(tokens.shape[:2], dtype=torch.float32, device=tokens.device)
    kept = torch.arange(tokens.shape[1], device=tokens.device).repeat(tokens.shape[0], 1)
    dtype, tokens = tokens.dtype, tokens.float()
    while num_merge:
        now = min(num_merge, tokens.shape[1] // 2)
        source, target, rest = match_pairs(normalise(features), now)
        weights = sizes if mass is None else _pair_weights(mass, sizes, source, target)
        features = merge_pairs(features, weights, source, target)
        tokens = merge_pairs(tokens, weights, source, target)
        if mass is not None:
            mass = mass.scatter_add(1, target, mass.gather(1, source)).gather(1, rest)
        sizes = sizes.scatter_add(1, target, sizes.gather(1, source)).gather(1, rest)
        tokens, features = select_tokens(tokens, rest), select_tokens(features, rest)
        kept = kept.gather(1, rest)
        num_merge -= now
    return Pruned(tokens.to(dtype), kept, sizes)


def match_pairs(features: Tensor, num_merge: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bipartite soft matching (ToMe, section 3): even positions look for their best odd one.

    Args:
        features: (B, L, D) float32, L2-normalised.
        num_merge: pairs to merge, at most L // 2.

    Returns:
        The places (B, num_merge) that vanish, the places (B, num_merge) they are merged into, and
        the places (B, L - num_merge) that stay, ascending.
    """
    similarity = features[:, ::2] @ features[:, 1::2].transpose(-1, -2)
    best, partner = similarity.max(-1)
    order = best.argsort(dim=-1, descending=True, stable=True)
    source = order[:, :num_merge]
    target = partner.gather(1, source) * 2 + 1
    odd = torch.arange(1, features.shape[1], 2, device=features.device)
    rest = torch.cat([order[:, num_merge:] * 2, odd.expand(features.shape[0], -1)], dim=1)
    return source * 2, target, rest.sort(dim=-1).values


def merge_pairs(values: Tensor, sizes: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Average every target with the sources merged into it, weighted by size.

    Args:
        values: (B, L, C) float32.
        sizes: (B, L) float32, before merging; every group must weigh something.
        source: (B, M) int64.
        target: (B, M) int64, disjoint from ``source``.

    Returns:
        (B, L, C); sources are left as they were.
    """
    weighted = values * sizes.unsqueeze(-1)
    index = target.unsqueeze(-1).expand(-1, -1, values.shape[-1])
    total = weighted.scatter_add(1, index, select_tokens(weighted, source))
    whole = sizes.scatter_add(1, target, sizes.gather(1, source)).unsqueeze(-1)
    # Only a source can weigh nothing; 0 / 0 would spoil its gradient.
    return total / whole.clamp_min(torch.finfo(whole.dtype).tiny)


def _pair_weights(mass: Tensor, sizes: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Weights (B, L) of a merge: the mass, or the sizes in groups that have none."""
    group = mass.scatter_add(1, target, mass.gather(1, source))
    group = group.scatter(1, source, group.gather(1, target))
    return torch.where(group > 0, mass, sizes)


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
        tokens_per_chunk(tokens.shape[1], stage.chunks, stage.num_drop)
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
