"""ToMe's bipartite soft matching, slowly: plain Python numbers, one token at a time.

Written from the description in Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023,
section 3, without its code: all tokens of a clip form one set; every even-placed token proposes to
its most similar odd-placed one; the most similar proposals are merged by size-weighted mean. Rounds
follow while more than half must go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tests.pruning.reference import Vector, dot, unit


@dataclass
class Group:
    """One surviving token: its input index, value, feature and how many tokens it stands for."""

    index: int
    token: Vector
    feature: Vector
    size: float


class MergeResult(NamedTuple):
    """Of a batch: tokens (B, K, C) float64, kept (B, K) int64, sizes (B, K) float64."""

    tokens: np.ndarray
    kept: np.ndarray
    sizes: np.ndarray


def weighted_mean(vectors: list[Vector], sizes: list[float]) -> Vector:
    total = math.fsum(sizes)
    return [
        math.fsum(size * value for size, value in zip(sizes, column)) / total
        for column in zip(*vectors)
    ]


def join(members: list[Group]) -> Group:
    """The first member, with the size-weighted mean of all."""
    sizes = [member.size for member in members]
    return Group(
        members[0].index,
        weighted_mean([member.token for member in members], sizes),
        weighted_mean([member.feature for member in members], sizes),
        math.fsum(sizes),
    )


def merge_round(groups: list[Group], num_merge: int) -> list[Group]:
    """Merges `num_merge` even-placed tokens into odd-placed ones, keeping the input order."""
    units = [unit(group.feature) for group in groups]
    even, odd = range(0, len(groups), 2), range(1, len(groups), 2)
    partner, closeness = {}, {}
    for a in even:
        likeness = {b: dot(units[a], units[b]) for b in odd}
        partner[a] = min(odd, key=lambda b: (-likeness[b], b))
        closeness[a] = likeness[partner[a]]
    merged = sorted(even, key=lambda a: (-closeness[a], a))[:num_merge]
    result = []
    for place, group in enumerate(groups):
        if place in odd:
            result.append(join([group] + [groups[a] for a in merged if partner[a] == place]))
        elif place not in merged:
            result.append(group)
    return sorted(result, key=lambda group: group.index)


def merge_clip(groups: list[Group], num_merge: int) -> list[Group]:
    while num_merge > 0:
        now = min(num_merge, len(groups) // 2)
        groups, num_merge = merge_round(groups, now), num_merge - now
    return groups


def merge_stage(
    tokens: np.ndarray, features: np.ndarray, *, num_merge: int, sizes: np.ndarray | None = None
) -> MergeResult:
    """Merges `num_merge` of tokens (B, L, C), features (B, L, D), sizes (B, L) or None for ones."""
    tokens, features = np.asarray(tokens, np.float64), np.asarray(features, np.float64)
    sizes = np.ones(tokens.shape[:2]) if sizes is None else np.asarray(sizes, np.float64)
    clips = []
    for clip in zip(tokens.tolist(), features.tolist(), sizes.tolist()):
        groups = [Group(index, *parts) for index, parts in enumerate(zip(*clip))]
        clips.append(merge_clip(groups, num_merge))
    return MergeResult(
        np.array([[group.token for group in clip] for clip in clips]),
        np.array([[group.index for group in clip] for clip in clips], np.int64),
        np.array([[group.size for group in clip] for clip in clips]),
    )
