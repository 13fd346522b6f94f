"""What STA is compared with first of all: random draws, behind the same interface."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from .base import Pruned, Pruner, StageContext, check_seed, select_tokens, tokens_per_chunk
from .randomness import hash_uniform
from .schedule import PruningStage


class RandomPruner(Pruner, name='random'):
    """Keep random tokens, drawn anew for every clip, stage and chunk.

    Args:
        seed: equal seeds give equal draws, on every device and in every batch.
    """

    draws = True
    per_chunk = True

    def __init__(self, *, seed: int = 0) -> None:
        check_seed(seed)
        self.seed = seed

    def __call__(
        self, tokens: Tensor, features: None, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage; tokens (B, T*N, C)."""
        counter = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
        draw = hash_uniform(self.seed, context.clip_ids, context.stage_index, counter)
        return _keep_smallest(tokens, draw, stage)


class TubeRandomPruner(Pruner, name='tube-random'):
    """Drop random places of the frame, the same ones in every frame (tubes).

    Every place of the frame draws one number per clip and stage; a chunk loses the places with the
    largest. When a chunk of several frames must lose a number of tokens that its frames do not
    divide, the last place goes from some of them only.

    Args:
        seed: equal seeds give equal draws, on every device and in every batch.
    """

    draws = True
    per_chunk = True

    def __init__(self, *, seed: int = 0) -> None:
        check_seed(seed)
        self.seed = seed

    def __call__(
        self, tokens: Tensor, features: None, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage; tokens (B, T*N, C)."""
        draw = hash_uniform(self.seed, context.clip_ids, context.stage_index, context.positions)
        return _keep_smallest(tokens, draw, stage)


def _keep_smallest(tokens: Tensor, draw: Tensor, stage: PruningStage) -> Pruned:
    """Per chunk keep the N - r tokens with the smallest draw (B, T*N), in natural order."""
    per_chunk = tokens_per_chunk(tokens.shape[1], stage.num_chunks, stage.num_drop)
    draw = rearrange(draw, 'b (t n) -> b t n', t=stage.num_chunks)
    order = draw.argsort(dim=-1, stable=True)[..., : per_chunk - stage.num_drop]
    offset = torch.arange(stage.num_chunks, device=tokens.device).unsqueeze(-1) * per_chunk
    kept = rearrange(order.sort(dim=-1).values + offset, 'b t k -> b (t k)')
    return Pruned(select_tokens(tokens, kept), kept)
