"""STA behind the interface of all pruners: settings, and what it is asked for."""

from __future__ import annotations

from torch import Tensor

from . import first_frame as image_pruner
from .base import SIMILARITIES, Pruned, Pruner, StageContext, check_choice, check_seed
from .pruner import AFFINITIES, FIRST_FRAMES, PREVIOUS_SETS, SCORES, prune_stage
from .schedule import PruningStage


class STAPruner(
    Pruner,
    name='sta',
    # The halves of STA's score: only A, and only 1 - F.
    presets={'temporal': {'score': 'temporal'}, 'semantic': {'score': 'semantic'}},
):
    """STA as a pruner: see :func:`prune_stage` for what it computes.

    Args:
        first_frame: image pruner of the first chunk.
        similarity: what the affinity compares: the block's 'query', 'key' or 'value' averaged over
            heads, or the output of its 'ffn'.
        score: 'product', 'temporal' or 'semantic'.
        affinity: 'cosine' or 'dot'.
        previous: 'all' or 'kept'.
        seed: seed of a random first frame.
    """

    per_chunk = True

    def __init__(
        self,
        *,
        first_frame: str = 'tome',
        similarity: str = 'key',
        score: str = 'product',
        affinity: str = 'cosine',
        previous: str = 'all',
        seed: int = 0,
    ) -> None:
        check_choice(first_frame, FIRST_FRAMES, 'first_frame')
        check_choice(similarity, SIMILARITIES, 'similarity')
        check_choice(score, SCORES, 'score')
        check_choice(affinity, AFFINITIES, 'affinity')
        check_choice(previous, PREVIOUS_SETS, 'previous')
        check_seed(seed)
        self.first_frame = first_frame
        self.similarity = similarity
        self.score = score
        self.affinity = affinity
        self.previous = previous
        self.seed = seed

    @property
    def draws(self) -> bool:
        """Whether the outcome depends on random draws, hence on ``context.clip_ids``."""
        return self.first_frame in ('random', 'grid')

    def check(self, stage: PruningStage) -> None:
        """Raise ValueError when this pruner cannot serve the stage."""
        if self.first_frame == 'grid':
            image_pruner.square_root(stage.num_drop)

    def __call__(
        self, tokens: Tensor, features: Tensor, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage; tokens (B, T*N, C), features (B, T*N, D)."""
        tokens, kept, scores = prune_stage(
            tokens,
            features,
            num_chunks=stage.num_chunks,
            num_drop=stage.num_drop,
            backward=stage.backward,
            first_frame=self.first_frame,
            score=self.score,
            affinity=self.affinity,
            previous=self.previous,
            positions=context.positions,
            grid_size=context.grid_size,
            seed=self.seed,
            clip_ids=context.clip_ids,
            stage_index=context.stage_index,
            return_scores=True,
        )
        return Pruned(tokens, kept, scores=scores)
