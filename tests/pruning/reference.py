"""The pruning rules once more, slowly: plain Python numbers, one token at a time.

Written from the equations and sharing no code with the package. Every sum is `math.fsum`, which is
exactly rounded and does not depend on order, so equal tokens get exactly equal scores and ties are
decided by position alone.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

Vector = list[float]


class StageResult(NamedTuple):
    """What one stage gives for a batch: tokens (B, K, C) float64 and kept (B, K) int64."""

    tokens: np.ndarray
    kept: np.ndarray


def dot(left: Vector, right: Vector) -> float:
    return math.fsum(a * b for a, b in zip(left, right))


def unit(vector: Vector) -> Vector:
    """The vector at length one; the zero vector stays zero."""
    length = math.sqrt(dot(vector, vector))
    return [value / length for value in vector] if length > 0 else list(vector)


def semantic_importance(tokens: list[Vector]) -> Vector:
    """F: sum of |x| over channels, min-max scaled over the chunk; all-equal importance is 0."""
    energy = [math.fsum(abs(value) for value in token) for token in tokens]
    low, high = min(energy), max(energy)
    if high == low:
        return [0.0] * len(energy)
    return [(value - low) / (high - low) for value in energy]


def transition(current: list[Vector], previous: list[Vector]) -> list[Vector]:
    """P[i][j]: softmax over the current tokens i of their affinity to previous token j."""
    columns = []
    for old in previous:
        logits = [dot(new, old) for new in current]
        top = max(logits)
        weights = [math.exp(value - top) for value in logits]
        total = math.fsum(weights)
        columns.append([weight / total for weight in weights])
    return [[column[i] for column in columns] for i in range(len(current))]


def tome_order(unit_keys: list[Vector], members: list[int]) -> list[int]:
    """All odd places of `members`, then the even ones by their best match, least similar first."""
    even, odd = members[0::2], members[1::2]
    best = {a: max(dot(unit_keys[a], unit_keys[b]) for b in odd) for a in even}
    places = {member: place for place, member in enumerate(members)}
    return odd + sorted(even, key=lambda a: (best[a], places[a]))


def tome_drop(keys: list[Vector], num_drop: int) -> list[int]:
    """The tokens of the first chunk that stay, in candidate order, cut once from the end."""
    order = tome_order([unit(key) for key in keys], list(range(len(keys))))
    return order[: len(keys) - num_drop]


def tome_drop_rounds(keys: list[Vector], num_drop: int) -> list[int]:
    """The same, but the split and matching are repeated while more than all even places must go."""
    members, left = list(range(len(keys))), num_drop
    while left > 0:
        gone = min(left, len(members[0::2]))
        order = tome_order([unit(key) for key in keys], members)
        members, left = order[: len(members) - gone], left - gone
    return members


FIRST_FRAME = {'tome': tome_drop, 'tome_rounds': tome_drop_rounds}


def prune_clip(
    tokens: list[list[Vector]],
    keys: list[list[Vector]],
    *,
    num_drop: int,
    backward: bool,
    first_frame: str,
    score: str,
    affinity: str,
    previous: str,
    first_kept: list[int] | None,
) -> list[list[int]]:
    """Kept in-chunk indices of one clip, for every chunk in natural order.

    `tokens` and `keys` are lists of chunks of tokens. `first_kept` stands in for the first chunk's
    rule where that rule is random.
    """
    num_chunks, num_tokens = len(tokens), len(tokens[0])
    order = list(range(num_chunks))
    if backward:
        order.reverse()
    first = order[0]
    if first_kept is None:
        first_kept = FIRST_FRAME[first_frame](keys[first], num_drop)
    kept = {first: first_kept}
    old_set = list(range(num_tokens)) if previous == 'all' else first_kept
    old_score = [1.0] * len(old_set)
    embed = unit if affinity == 'cosine' else list
    for last, chunk in pairwise(order):
        new_keys = [embed(key) for key in keys[chunk]]
        old_keys = [embed(keys[last][index]) for index in old_set]
        shares = transition(new_keys, old_keys)
        redundancy = [dot(row, old_score) for row in shares]
        important = semantic_importance(tokens[chunk])
        final = {
            'product': [a * (1.0 - f) for a, f in zip(redundancy, important)],
            'temporal': redundancy,
            'semantic': [1.0 - f for f in important],
        }[score]
        ranked = sorted(range(num_tokens), key=lambda index: (final[index], index))
        old_set = kept[chunk] = ranked[: num_tokens - num_drop]
        total = math.fsum(redundancy[index] for index in old_set)
        old_score = [redundancy[index] / total for index in old_set]
    return [kept[chunk] for chunk in range(num_chunks)]


def prune_stage(
    tokens: np.ndarray,
    keys: np.ndarray,
    *,
    num_chunks: int,
    num_drop: int,
    backward: bool = False,
    first_frame: str = 'tome',
    score: str = 'product',
    affinity: str = 'cosine',
    previous: str = 'all',
    first_kept: list[list[int]] | None = None,
) -> StageResult:
    """One stage for tokens (B, T*N, C) and keys (B, T*N, D); `first_kept`: one list per clip."""
    tokens, keys = np.asarray(tokens, np.float64), np.asarray(keys, np.float64)
    num_clips, length, _ = tokens.shape
    num_tokens = length // num_chunks
    if num_drop == 0:
        return StageResult(tokens, np.tile(np.arange(length), (num_clips, 1)))
    kept = []
    for clip in range(num_clips):
        chunks = prune_clip(
            tokens[clip].reshape(num_chunks, num_tokens, -1).tolist(),
            keys[clip].reshape(num_chunks, num_tokens, -1).tolist(),
            num_drop=num_drop,
            backward=backward,
            first_frame=first_frame,
            score=score,
            affinity=affinity,
            previous=previous,
            first_kept=None if first_kept is None else first_kept[clip],
        )
        kept.append([t * num_tokens + i for t, chunk in enumerate(chunks) for i in chunk])
    kept_array = np.array(kept, np.int64)
    return StageResult(np.stack([tokens[b][kept_array[b]] for b in range(num_clips)]), kept_array)
