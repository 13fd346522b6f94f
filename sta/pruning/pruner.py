"""Semantic-aware temporal accumulation: prune one stage of a video transformer.

Ding et al., "Prune Spatio-temporal Tokens by Semantic-aware Temporal Accumulation", ICCV 2023.
Start reading at :func:`prune_stage`.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from . import first_frame as image_pruner
from .base import StageScores, check_choice, full_precision, select_tokens, tokens_per_chunk
from .scores import (
    accumulate,
    normalise,
    pruning_score,
    semantic_importance,
    similarity_matrix,
    transition,
)

FIRST_FRAMES = ('tome', 'tome_rounds', 'random', 'grid')
SCORES = ('product', 'temporal', 'semantic')
AFFINITIES = ('cosine', 'dot')
PREVIOUS_SETS = ('all', 'kept')
_TINY = torch.finfo(torch.float32).tiny


def prune_stage(
    tokens: Tensor,
    keys: Tensor,
    *,
    num_chunks: int,
    num_drop: int,
    backward: bool = False,
    first_frame: str = 'tome',
    score: str = 'product',
    affinity: str = 'cosine',
    previous: str = 'all',
    positions: Tensor | None = None,
    grid_size: tuple[int, int] | None = None,
    seed: int = 0,
    clip_ids: Tensor | None = None,
    stage_index: int = 0,
    return_scores: bool = False,
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, StageScores | None]:
    """Drop the tokens that are redundant over time and unimportant to the prediction.

    Args:
        tokens: (B, T*N, C), time-major, at the end of a transformer block.
        keys: (B, T*N, D), that block's attention keys averaged over heads, not normalised.
        num_chunks: T.
        num_drop: r, tokens dropped per chunk.
        backward: accumulate from the last chunk to the first.
        first_frame: how the first chunk is pruned: 'tome', 'tome_rounds', 'random' or 'grid'.
        score: 'product' A (1 - F), 'temporal' A, or 'semantic' 1 - F.
        affinity: 'cosine' (released code) or 'dot' (the paper's wording).
        previous: the second chunk is compared with 'all' tokens of the first (released code) or
            with its 'kept' ones (the paper's wording).
        positions: (B, T*N) int64, row * W + column of each token; only 'grid' asks for them.
            Default: the place in the chunk on a sqrt(N) x sqrt(N) grid.
        grid_size: (H, W) of one frame, with ``positions``.
        seed: seed of 'random' and 'grid'.
        clip_ids: (B,) int64, what makes the draws of two clips differ; default all 0.
        stage_index: number of the stage, so that stages draw differently.
        return_scores: also return what the tokens were ranked by.

    Returns:
        The kept tokens (B, T*(N-r), C), chunks in natural order, each in its kept order, and their
        int64 indices into the input (B, T*(N-r)); with ``return_scores`` the scores as well, None
        where nothing is dropped.

    Raises:
        ScheduleError: the tokens do not split evenly into chunks, or r is not below N.
        ValueError: an unknown option, naming the known ones.

    Source: section 3 of the paper; the released code where the two differ.
    """
    for value, known, name in (
        (first_frame, FIRST_FRAMES, 'first_frame'),
        (score, SCORES, 'score'),
        (affinity, AFFINITIES, 'affinity'),
        (previous, PREVIOUS_SETS, 'previous'),
    ):
        check_choice(value, known, name)
    batch, length = tokens.shape[:2]
    if keys.shape[:2] != tokens.shape[:2]:
        raise ValueError(f'keys {tuple(keys.shape)} do not match tokens {tuple(tokens.shape)}')
    per_chunk = tokens_per_chunk(length, num_chunks, num_drop)
    if num_drop == 0:
        everything = torch.arange(length, device=tokens.device).repeat(batch, 1)
        return (tokens, everything, None) if return_scores else (tokens, everything)
    if clip_ids is None:
        clip_ids = torch.zeros(batch, dtype=torch.int64, device=tokens.device)

    # Scores are float32 whatever the tokens are, also under autocast.
    with torch.no_grad(), full_precision(tokens.device.type):
        chunks = rearrange(keys.detach().float(), 'b (t n) d -> t b n d', t=num_chunks)
        chunks = normalise(chunks) if affinity == 'cosine' else chunks
        importance = semantic_importance(
            rearrange(tokens.detach(), 'b (t n) c -> t b n c', t=num_chunks)
        )
        time = range(num_chunks - 1, -1, -1) if backward else range(num_chunks)
        first = _first_chunk_order(
            # ToMe compares by cosine also where the affinity is a dot product.
            chunks[time[0]] if affinity == 'cosine' else normalise(chunks[time[0]]),
            first_frame,
            num_drop,
            seed=seed,
            clip_ids=clip_ids,
            stage_index=stage_index,
            positions=None
            if positions is None
            else rearrange(positions, 'b (t n) -> t b n', t=num_chunks)[time[0]],
            grid_size=grid_size,
        )
        kept, scores = _accumulate_over_time(
            chunks, importance, list(time), first, num_drop, score=score, previous=previous
        )
        offset = torch.arange(num_chunks, device=tokens.device) * per_chunk
        kept = rearrange(kept + offset[:, None, None], 't b k -> b (t k)')
    left = select_tokens(tokens, kept)
    return (left, kept, scores) if return_scores else (left, kept)


def _accumulate_over_time(
    keys: Tensor,
    importance: Tensor,
    time: list[int],
    first: Tensor,
    num_drop: int,
    *,
    score: str,
    previous: str,
) -> tuple[Tensor, StageScores]:
    """The recursion over chunks, Eq. 2 to 5.

    Args:
        keys: (T, B, N, D) float32.
        importance: (T, B, N) float32.
        time: the chunks in the order of accumulation.
        first: (B, N) candidate order of the first of them.
        num_drop: r.

    Returns:
        (T, B, N - r) int64 places in the chunk, chunks in natural order, and the scores.
    """
    num_keep = first.shape[1] - num_drop
    kept = {time[0]: first[:, :num_keep]}
    handed_on = first if previous == 'all' else kept[time[0]]
    before = select_tokens(keys[time[0]], handed_on)
    redundancy = torch.ones_like(before[..., 0])
    accumulated: list[Tensor | None] = [None] * len(time)
    ranked: list[Tensor | None] = [None] * len(time)
    for t in time[1:]:
        accumulated[t] = accumulate(transition(similarity_matrix(keys[t], before)), redundancy)
        ranked[t] = pruning_score(accumulated[t], importance[t], score)
        # Stable: equal scores go to the smaller position, which topk does not promise.
        kept[t] = ranked[t].argsort(dim=-1, stable=True)[:, :num_keep]
        redundancy = accumulated[t].gather(1, kept[t])
        # The sum can only vanish where dot products are so far apart that softmax underflows.
        redundancy = redundancy / redundancy.sum(-1, keepdim=True).clamp_min(_TINY)
        before = select_tokens(keys[t], kept[t])
    scores = StageScores(importance, tuple(accumulated), tuple(ranked))
    return torch.stack([kept[t] for t in sorted(kept)]), scores


def _first_chunk_order(
    keys: Tensor,
    first_frame: str,
    num_drop: int,
    *,
    seed: int,
    clip_ids: Tensor,
    stage_index: int,
    positions: Tensor | None,
    grid_size: tuple[int, int] | None,
) -> Tensor:
    """Candidate order (B, N) of the chunk that has no past, from its keys (B, N, D)."""
    num_tokens = keys.shape[1]
    if first_frame == 'random':
        return image_pruner.random_order(seed, clip_ids, stage_index, num_tokens)
    if first_frame == 'grid':
        if positions is None or grid_size is None:
            positions, grid_size = _square_grid(keys)
        return image_pruner.grid_order(seed, clip_ids, stage_index, positions, grid_size, num_drop)
    if first_frame == 'tome':
        return image_pruner.tome_order(keys)
    return image_pruner.tome_rounds_order(keys, num_drop)


def _square_grid(keys: Tensor) -> tuple[Tensor, tuple[int, int]]:
    batch, num_tokens = keys.shape[:2]
    side = math.isqrt(num_tokens)
    if side * side != num_tokens:
        raise ValueError(
            f"first_frame='grid' on {num_tokens} tokens per chunk, which is no square number: "
            f'pass positions and grid_size'
        )
    return torch.arange(num_tokens, device=keys.device).expand(batch, -1), (side, side)
