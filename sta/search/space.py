"""From numbers that a sampler draws to schedules of one cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sta.errors import ScheduleError
from sta.models.prunable import PrunableBackbone

Stages = list[dict[str, Any]]
Gflops = Callable[[Stages], float]
_STEPS = 12  # of the bisection: a chunk of the largest models holds below 2**12 tokens


class Trial(Protocol):
    """What optuna hands to an objective, as far as it is used here."""

    def suggest_float(self, name: str, low: float, high: float) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


class SearchSpace(Protocol):
    """Which schedules there are for a backbone."""

    def drawn(self, trial: Trial) -> dict[str, Any]:
        """Draw the numbers of one schedule, its scale apart."""

    def paper(self) -> dict[str, Any]:
        """The numbers that make the paper's schedule."""

    def stages(self, numbers: Mapping[str, Any], scale: float) -> Stages:
        """A schedule as configs hold it; the larger the scale, from 0 to 1, the more it drops."""


def space_of(backbone: PrunableBackbone, num_stages: int = 3) -> SearchSpace:
    """The search space of a backbone of ours.

    Args:
        backbone: a ViT, whose stages stand anywhere, or one with places for them.
        num_stages: pruning stages of a ViT; a VideoSwin has as many as it is merged.

    Raises:
        ScheduleError: the model has no place for so many stages.
    """
    frames, rows, columns = backbone.token_grid(backbone.clip_shape)
    if backbone.stage_places is not None:
        return SwinSpace(backbone.stage_places, rows, columns)
    return ViTSpace(len(backbone.blocks_by_level()), frames, rows * columns, num_stages)


class ViTSpace:
    """Places anywhere between the blocks, drops and directions per stage; chunks as in the paper.

    Args:
        depth: blocks.
        frames: temporal tokens T; stage i has T / 2**i chunks.
        tokens_per_frame: of the whole grid.
        num_stages: pruning stages.

    Raises:
        ScheduleError: more stages than blocks, or T cannot be halved so often.
    """

    def __init__(self, depth: int, frames: int, tokens_per_frame: int, num_stages: int) -> None:
        if not 1 <= num_stages <= depth:
            raise ScheduleError(f'{num_stages} stages do not fit into a model of {depth} blocks')
        if frames % 2 ** (num_stages - 1):
            raise ScheduleError(
                f'{num_stages} stages halve the {frames} temporal tokens {num_stages - 1} times, '
                f'which does not come out even: use fewer'
            )
        self.depth, self.frames, self.num_stages = depth, frames, num_stages
        self.tokens_per_frame = tokens_per_frame

    def drawn(self, trial: Trial) -> dict[str, Any]:
        """Where (as a share of the blocks that are left), how much, in which direction."""
        numbers = {}
        for i in range(self.num_stages):
            numbers[f'place{i}'] = trial.suggest_float(f'place{i}', 0.0, 1.0)
            numbers[f'drop{i}'] = trial.suggest_float(f'drop{i}', 0.0, 1.0)
            numbers[f'direction{i}'] = trial.suggest_categorical(f'direction{i}', ['F', 'B'])
        return numbers

    def paper(self) -> dict[str, Any]:
        """Blocks 0, L / 3, 2 L / 3 for three stages, one r for all, directions F, B, F."""
        numbers: dict[str, Any] = {}
        first = 0
        for i in range(self.num_stages):
            choices = self._choices(first, i)
            place = i * self.depth // self.num_stages
            numbers[f'place{i}'] = (place - first + 0.5) / choices
            numbers[f'drop{i}'] = 0.5**i  # of a chunk of 2**i frames: one r for all stages
            numbers[f'direction{i}'] = 'FBF'[i % 3]
            first = place + 1
        return numbers

    def stages(self, numbers: Mapping[str, Any], scale: float) -> Stages:
        """Drops per chunk, scale * share of its frames' tokens; stages of 0 are left away."""
        stages, first = [], 0
        for i in range(self.num_stages):
            choices = self._choices(first, i)
            place = first + min(int(numbers[f'place{i}'] * choices), choices - 1)
            first = place + 1
            chunks = self.frames // 2**i
            drop = round(scale * numbers[f'drop{i}'] * 2**i * self.tokens_per_frame)
            if drop:
                stages.append(_stage(place, chunks, drop, numbers[f'direction{i}']))
        return stages

    def _choices(self, first: int, stage: int) -> int:
        """Blocks that stage ``stage`` can stand behind when it is not before ``first``."""
        return self.depth - first - (self.num_stages - 1 - stage)


class SwinSpace:
    """Drops per frame and directions; the places are those of the patch mergings.

    Args:
        merged_blocks: last block of every Swin stage that is merged.
        rows: of the grid before the first merging.
        columns: likewise.
    """

    def __init__(self, merged_blocks: Sequence[int], rows: int, columns: int) -> None:
        self.merged_blocks = tuple(merged_blocks)
        self.tokens = []
        for _ in merged_blocks:
            rows, columns = -(-rows // 2), -(-columns // 2)
            self.tokens.append(rows * columns)

    def drawn(self, trial: Trial) -> dict[str, Any]:
        """How much and in which direction."""
        numbers = {}
        for i in range(len(self.tokens)):
            numbers[f'drop{i}'] = trial.suggest_float(f'drop{i}', 0.0, 1.0)
            numbers[f'direction{i}'] = trial.suggest_categorical(f'direction{i}', ['F', 'B'])
        return numbers

    def paper(self) -> dict[str, Any]:
        """Shares of a frame as 1 : 1.5 : 2, directions F, B, F."""
        number = len(self.tokens)
        return {f'drop{i}': (2 + i) / (1 + number) for i in range(number)} | {
            f'direction{i}': 'FBF'[i % 3] for i in range(number)
        }

    def stages(self, numbers: Mapping[str, Any], scale: float) -> Stages:
        """Drops per frame, scale * share of its tokens; stages of 0 are left away."""
        drops = [
            int(scale * numbers[f'drop{i}'] * tokens + 1e-9) for i, tokens in enumerate(self.tokens)
        ]
        return [
            _stage(block, None, drop, numbers[f'direction{i}'])
            for i, (block, drop) in enumerate(zip(self.merged_blocks, drops, strict=True))
            if drop
        ]


def stages_within(
    space: SearchSpace, numbers: Mapping[str, Any], gflops: Gflops, budget: float
) -> Stages | None:
    """The schedule of these numbers that costs most without exceeding a budget.

    Args:
        space: makes schedules of the numbers.
        numbers: see :meth:`SearchSpace.drawn`.
        gflops: of a schedule; raises ScheduleError for one that drops too much.
        budget: GFLOPs per view.

    Returns:
        None where no scale meets the budget.
    """

    def cost(scale: float) -> float:
        try:
            return gflops(space.stages(numbers, scale))
        except ScheduleError:
            return -1.0  # too much: look further down

    low, high = 0.0, 1.0
    best = None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found = cost(middle)
        if found > budget:
            low = middle
        else:
            high = middle
            if found >= 0:
                best = space.stages(numbers, middle)
    return best


def _stage(block: int, chunks: int | None, drop: int, direction: str) -> dict[str, Any]:
    return dict(after_block=block, num_chunks=chunks, num_drop=drop, backward=direction == 'B')
