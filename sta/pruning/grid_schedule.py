"""Schedules of backbones whose grid shrinks between stages, such as VideoSwin (STA, section 4.3).

Tokens are dropped where a Swin stage has just been merged; the next merge fills the grid again, so
every drop counts from the full grid. A chunk is always one frame: the fill needs tokens in each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from .schedule import PruningSchedule, PruningStage, ScheduleError, check_int, stage_from_mapping

# r1 on the 28 x 28 grid, 1.5 r1 / 4 on the 14 x 14, 2 r1 / 16 on the 7 x 7, in eighths of r1.
PAPER_EIGHTHS = (8, 3, 1)
PAPER_TOKENS_PER_FRAME = (784, 196, 49)


def parse_grid_schedule(spec: Any, *, merged_blocks: Sequence[int]) -> PruningSchedule:
    """Build a schedule from what a config holds; what depends on the clip is checked later.

    Args:
        spec: None (drop nothing), an int (the paper's r1, for 224 x 224), a list of drops per
            frame, one for every merged stage, or a list of dict(after_block=, num_drop=,
            backward=).
        merged_blocks: 0-based indices of the blocks that a merge follows, (1, 3, 21) for
            VideoSwin-B.

    Returns:
        A schedule whose stages have ``num_chunks=None``, see :func:`fit_to_grids`.

    Raises:
        ScheduleError: naming the value and what would be right.
    """
    if spec is None:
        return PruningSchedule()
    if isinstance(spec, PruningSchedule):
        schedule = spec
    elif isinstance(spec, int) and not isinstance(spec, bool):
        if spec == 0:
            return PruningSchedule()
        schedule = _at_merges(paper_drops(spec)[: len(merged_blocks)], merged_blocks)
    elif not isinstance(spec, Sequence) or isinstance(spec, str | bytes) or not spec:
        raise ScheduleError(
            f'a schedule is None, an int, a list of {len(merged_blocks)} ints or a list of '
            f'dict(after_block=, num_drop=, backward=), got {spec!r}'
        )
    elif all(isinstance(item, Mapping) for item in spec):
        schedule = PruningSchedule(
            tuple(
                stage_from_mapping({'num_chunks': None, **item}, i) for i, item in enumerate(spec)
            )
        )
    else:
        schedule = _at_merges(list(spec), merged_blocks)
    for i, stage in enumerate(schedule.stages):
        if stage.after_block not in merged_blocks:
            raise ScheduleError(
                f'pruning stage {i + 1} (after block {stage.after_block}): this model drops tokens '
                f'where a patch merging follows, after blocks {list(merged_blocks)} only'
            )
    return schedule


def paper_drops(first_drop: int) -> list[int]:
    """The paper's {r1, 1.5 r1 / 4, 2 r1 / 16} tokens per frame for 224 x 224 pixels (Table 3).

    Raises:
        ScheduleError: r1 does not give whole numbers or is too large; the nearest valid are named.
    """
    check_int(first_drop, 'r1', 0)
    limit = _paper_limit()
    if first_drop % 8 or first_drop > limit:
        below = min(first_drop - first_drop % 8, limit)
        nearest = f'{below} and {below + 8}' if below < limit else f'{limit}'
        raise ScheduleError(
            f'r1 drops r1, 3 r1 / 8 and r1 / 8 tokens per frame of 28 x 28, 14 x 14 and 7 x 7 '
            f'grids: it must be a multiple of 8 up to {limit}, got {first_drop}; nearest: '
            f'{nearest}. For other sizes give the drops, such as [24, 6, 1]'
        )
    return [first_drop * eighths // 8 for eighths in PAPER_EIGHTHS]


def grid_ladder(tokens_per_frame: Sequence[int]) -> list[int] | list[list[int]]:
    """Schedules from the least to the most dropped, in the proportions of the paper.

    The paper drops r1 / 784, 1.5 r1 / 784 and 2 r1 / 784 of a frame's tokens at its three places.

    Args:
        tokens_per_frame: of each merged grid, e.g. (784, 196, 49).

    Returns:
        The paper's r1 where the grids are those of the paper; else drops per frame at every place,
        each list one more token than the last, rounded down.
    """
    if tuple(tokens_per_frame) == PAPER_TOKENS_PER_FRAME:
        return list(range(8, _paper_limit() + 1, 8))
    # The share of a frame dropped at place i is (2 + i) / 2 of that at the first place.
    steps = {
        Fraction(2 * drop, tokens * (2 + i))
        for i, tokens in enumerate(tokens_per_frame)
        for drop in range(1, tokens)
    }
    ladder = []
    for share in sorted(steps):
        drops = [int(share * (2 + i) / 2 * tokens) for i, tokens in enumerate(tokens_per_frame)]
        if any(drop >= tokens for drop, tokens in zip(drops, tokens_per_frame, strict=True)):
            break
        ladder.append(drops)
    return ladder


def fit_to_grids(
    schedule: PruningSchedule, grids: Mapping[int, tuple[int, int, int]]
) -> PruningSchedule:
    """Make one chunk of every frame and check the drops against the grids of a clip.

    Args:
        schedule: from :func:`parse_grid_schedule`.
        grids: the merged grid (T, H, W) behind each block that a merge follows.

    Raises:
        ScheduleError: a stage would drop a whole frame, or groups several frames.
    """
    stages = []
    for i, stage in enumerate(schedule.stages):
        frames, rows, columns = grids[stage.after_block]
        name = f'pruning stage {i + 1} (after block {stage.after_block})'
        if stage.num_chunks not in (None, frames):
            raise ScheduleError(
                f'{name}: a chunk is one of the {frames} frames of the grid, so num_chunks must be '
                f'{frames} or left away, got {stage.num_chunks}'
            )
        if stage.num_drop >= rows * columns:
            raise ScheduleError(
                f'{name}: cannot drop {stage.num_drop} of the {rows} x {columns} = '
                f'{rows * columns} tokens of a frame; at most {rows * columns - 1} can go'
            )
        stages.append(replace(stage, num_chunks=frames))
    return PruningSchedule(tuple(stages))


def _paper_limit() -> int:
    """The largest r1: a multiple of 8 that leaves a token in every frame."""
    limit = min(
        (tokens - 1) * 8 // eighths
        for tokens, eighths in zip(PAPER_TOKENS_PER_FRAME, PAPER_EIGHTHS, strict=True)
    )
    return limit - limit % 8


def _at_merges(num_drops: Sequence[int], merged_blocks: Sequence[int]) -> PruningSchedule:
    """One stage per merge, directions forward, backward, forward, ..."""
    if len(num_drops) != len(merged_blocks):
        raise ScheduleError(
            f'this model is merged {len(merged_blocks)} times and takes as many drops per frame, '
            f'got {list(num_drops)}'
        )
    for i, num_drop in enumerate(num_drops):
        check_int(num_drop, f'drop of stage {i + 1}', 0)
    return PruningSchedule(
        tuple(
            PruningStage(block, None, num_drop, backward=i % 2 == 1)
            for i, (block, num_drop) in enumerate(zip(merged_blocks, num_drops, strict=True))
        )
    )
