"""Semantic-aware temporal accumulation: prune one stage of a video transformer.

Ding et al., "Prune Spatio-temporal Tokens by Semantic-aware Temporal Accumulation", ICCV 2023.
Start reading at :func:`prune_stage`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .base import (
    SIMILARITIES,
    Pruned,
    Pruner,
    StageContext,
    StageScores,
    check_choice,
    check_seed,
    full_precision,
    select_tokens,
    tokens_per_chunk,
)
from .random_drop import hash_uniform
from .schedule import PruningStage

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
        handed = accumulate(transition(similarity_matrix(keys[t], before)), redundancy)
        order = pruning_score(handed, importance[t], score)
        accumulated[t], ranked[t] = handed, order
        # Stable: equal scores go to the smaller position, which topk does not promise.
        kept[t] = order.argsort(dim=-1, stable=True)[:, :num_keep]
        redundancy = handed.gather(1, kept[t])
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
        return random_order(seed, clip_ids, stage_index, num_tokens)
    if first_frame == 'grid':
        if positions is None or grid_size is None:
            positions, grid_size = _square_grid(keys)
        return grid_order(seed, clip_ids, stage_index, positions, grid_size, num_drop)
    if first_frame == 'tome':
        return tome_order(keys)
    return tome_rounds_order(keys, num_drop)


def _square_grid(keys: Tensor) -> tuple[Tensor, tuple[int, int]]:
    batch, num_tokens = keys.shape[:2]
    side = math.isqrt(num_tokens)
    if side * side != num_tokens:
        raise ValueError(
            f"first_frame='grid' on {num_tokens} tokens per chunk, which is no square number: "
            f'pass positions and grid_size'
        )
    return torch.arange(num_tokens, device=keys.device).expand(batch, -1), (side, side)


def semantic_importance(tokens: Tensor) -> Tensor:
    """Activation attention map, Eq. 4: sum over channels of |x|, min-max scaled per chunk.

    Args:
        tokens: (..., N, C).

    Returns:
        (..., N) float32 in [0, 1]; 0 everywhere where all tokens weigh the same.
    """
    activation = tokens.float().abs().sum(-1)
    least = activation.amin(-1, keepdim=True)
    spread = activation.amax(-1, keepdim=True) - least
    return (activation - least) / torch.where(spread > 0, spread, torch.ones_like(spread))


def similarity_matrix(current: Tensor, previous: Tensor) -> Tensor:
    """Similarity of every token of a chunk to every token of the previous set.

    Args:
        current: (B, N, D) float32.
        previous: (B, M, D) float32.

    Returns:
        (B, N, M).
    """
    return current @ previous.transpose(-1, -2)


def transition(similarity: Tensor) -> Tensor:
    """Transition matrix, Eq. 2: softmax over the current tokens, so that each column sums to 1.

    Args:
        similarity: (B, N, M), see :func:`similarity_matrix`.
    """
    return similarity.softmax(-2)


def accumulate(step: Tensor, redundancy: Tensor) -> Tensor:
    """Temporal accumulation, Eq. 3: redundancy handed on from the previous set.

    Args:
        step: (B, N, M) transition matrix.
        redundancy: (B, M) of the previous set.

    Returns:
        (B, N).
    """
    # Not a matrix-vector product: its rows may be summed in different orders, and equal tokens
    # would get unequal scores.
    return (step * redundancy.unsqueeze(-2)).sum(-1)


def pruning_score(redundancy: Tensor, importance: Tensor, kind: str) -> Tensor:
    """What tokens are ranked by, Eq. 5; the smallest are kept.

    Args:
        redundancy: (B, N) accumulated redundancy A_t.
        importance: (B, N) semantic importance F_t.
        kind: 'product' A (1 - F), 'temporal' A, or 'semantic' 1 - F.
    """
    if kind == 'product':
        return redundancy * (1 - importance)
    return redundancy if kind == 'temporal' else 1 - importance


def normalise(keys: Tensor) -> Tensor:
    """L2-normalise over the last axis in float32; an all-zero vector stays zero."""
    return F.normalize(keys.float(), dim=-1)


def tome_order(keys: Tensor) -> Tensor:
    """Candidate order of ToMe-drop: odd positions first, then even ones, least replaceable first.

    A token at an even position is the more replaceable, the more it resembles some odd one.

    Args:
        keys: (B, N, D) float32, L2-normalised.

    Returns:
        (B, N) int64, a permutation; the first N - r entries are kept. When r exceeds the number of
        even positions this cuts trailing odd ones, as the released code does.
    """
    even, odd = _split(keys)
    odd_places = torch.arange(1, keys.shape[1], 2, device=keys.device).expand(keys.shape[0], -1)
    if not odd.shape[1]:
        return torch.zeros(keys.shape[:2], dtype=torch.int64, device=keys.device)
    best = (even @ odd.transpose(-1, -2)).amax(-1)
    return torch.cat([odd_places, best.argsort(dim=-1, stable=True) * 2], dim=1)


def tome_rounds_order(keys: Tensor, num_drop: int) -> Tensor:
    """Candidate order of ToMe-drop in rounds: even positions go, then even ones of the rest, ...

    Equal to :func:`tome_order` while r is at most the number of even positions.

    Args:
        keys: (B, N, D) float32, L2-normalised.
        num_drop: r < N.

    Returns:
        (B, N) int64, a permutation; the first N - r entries are kept.
    """
    order = tome_order(keys)
    num_even = (keys.shape[1] + 1) // 2
    if num_drop <= num_even:
        return order
    num_odd = keys.shape[1] - num_even
    odd, rest = order[:, :num_odd], order[:, num_odd:]
    inner = tome_rounds_order(keys[:, 1::2], num_drop - num_even)
    return torch.cat([odd.gather(1, inner), rest], dim=1)


def random_order(seed: int, clip_ids: Tensor, stage: int, num_tokens: int) -> Tensor:
    """A random candidate order, with the kept tokens in no particular order.

    Args:
        seed: experiment seed.
        clip_ids: (B,) int64.
        stage: index of the pruning stage.
        num_tokens: N.

    Returns:
        (B, N) int64.
    """
    counter = torch.arange(num_tokens, device=clip_ids.device).unsqueeze(0)
    return hash_uniform(seed, clip_ids, stage, counter).argsort(dim=-1, stable=True)


def grid_order(
    seed: int,
    clip_ids: Tensor,
    stage: int,
    positions: Tensor,
    grid_size: tuple[int, int],
    num_drop: int,
) -> Tensor:
    """Candidate order that drops one random token in each of sqrt(r) x sqrt(r) cells of the frame.

    A cell that earlier stages emptied has none to give: its share falls on random other tokens.

    Args:
        seed: experiment seed.
        clip_ids: (B,) int64.
        stage: index of the pruning stage.
        positions: (B, N) int64, row * W + column of each token.
        grid_size: (H, W) of one frame.
        num_drop: r, a square number.

    Returns:
        (B, N) int64; the first N - r entries are kept.

    Raises:
        ValueError: r is not a square number.
    """
    side = square_root(num_drop)
    height, width = grid_size
    row, column = positions // width, positions % width
    cell = (row * side // height) * side + column * side // width
    counter = torch.arange(positions.shape[1], device=positions.device).unsqueeze(0)
    draw = hash_uniform(seed, clip_ids, stage, counter)
    # A token is its cell's pick when nothing of the same cell drew less (earlier on a tie).
    same_cell = cell.unsqueeze(2) == cell.unsqueeze(1)
    less = draw.unsqueeze(1) < draw.unsqueeze(2)
    tie = (draw.unsqueeze(1) == draw.unsqueeze(2)) & (counter.unsqueeze(1) < counter.unsqueeze(2))
    picked = ~(same_cell & (less | tie)).any(-1)
    return (draw + picked.to(torch.int64) * 2**32).argsort(dim=-1, stable=True)


def square_root(num_drop: int) -> int:
    """The side of a square number of cells.

    Raises:
        ValueError: naming the nearest square numbers.
    """
    side = math.isqrt(num_drop)
    if side * side != num_drop:
        raise ValueError(
            f"first_frame='grid' drops one token per cell of a square grid: num_drop must be a "
            f'square number, got {num_drop}; the nearest are {side**2} and {(side + 1) ** 2}'
        )
    return side


def _split(keys: Tensor) -> tuple[Tensor, Tensor]:
    if keys.shape[1] % 2 == 0:
        even, odd = rearrange(keys, 'b (n s) d -> s b n d', s=2)
        return even, odd
    return keys[:, ::2], keys[:, 1::2]


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
        self.draws = first_frame in ('random', 'grid')
        self.similarity = similarity
        self.score = score
        self.affinity = affinity
        self.previous = previous
        self.seed = seed

    def check(self, stage: PruningStage) -> None:
        """Raise ValueError when this pruner cannot serve the stage."""
        if self.first_frame == 'grid':
            square_root(stage.num_drop)

    def __call__(
        self, tokens: Tensor, features: Tensor, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage; tokens (B, T*N, C), features (B, T*N, D)."""
        left, kept, *scores = prune_stage(
            tokens,
            features,
            num_chunks=stage.chunks,
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
        return Pruned(left, kept, scores=scores[0])
