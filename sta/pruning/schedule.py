"""Where tokens are dropped, how many, and in which temporal order (STA, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, cast

from sta.errors import ScheduleError


@dataclass(frozen=True)
class PruningStage:
    """One pruning stage: after a block, every chunk of frames loses the same number of tokens.

    Args:
        after_block: 0-based index of the transformer block after which tokens are dropped.
        num_chunks: number of temporal chunks T the tokens are split into; None for one chunk per
            frame of whatever clip comes, which only grid backbones take.
        num_drop: tokens dropped per chunk; a stage with 0 is skipped.
        backward: accumulate from the last chunk to the first instead of first to last.
    """

    after_block: int
    num_chunks: int | None
    num_drop: int
    backward: bool = False

    def __post_init__(self) -> None:
        check_int(self.after_block, 'after_block', 0)
        if self.num_chunks is not None:
            check_int(self.num_chunks, 'num_chunks', 1)
        check_int(self.num_drop, 'num_drop', 0)
        if not isinstance(self.backward, bool):
            raise ScheduleError(f'backward must be True or False, got {self.backward!r}')

    @property
    def chunks(self) -> int:
        """``num_chunks`` where it says how many; see :func:`fit_to_grids` for where it does not."""
        if self.num_chunks is None:
            raise ScheduleError(f'the stage after block {self.after_block} has a chunk per frame')
        return self.num_chunks

    @property
    def total_drop(self) -> int:
        """Tokens dropped per clip."""
        return self.chunks * self.num_drop


@dataclass(frozen=True)
class PruningSchedule:
    """The pruning stages of one model, in the order of its blocks."""

    stages: tuple[PruningStage, ...] = ()

    def __post_init__(self) -> None:
        places = [stage.after_block for stage in self.stages]
        if any(later <= earlier for earlier, later in zip(places, places[1:], strict=False)):
            raise ScheduleError(f'stages must stand after increasing blocks, got blocks {places}')

    @classmethod
    def from_drop(
        cls,
        num_drop: int,
        *,
        depth: int,
        num_frames_tokens: int,
        tokens_per_frame: int | None = None,
        num_stages: int = 3,
        directions: str = 'FBF',
    ) -> PruningSchedule:
        """The paper's STA{r}: the same drop per chunk at every stage, chunks halved per stage.

        Args:
            num_drop: r, tokens dropped per chunk at every stage.
            depth: number of transformer blocks L; stage i stands after block i * L // num_stages.
            num_frames_tokens: frames / tubelet size, the number of chunks of the first stage.
            tokens_per_frame: when given, the token counts are checked as well.
            num_stages: number of stages.
            directions: one letter per stage, F(orward) or B(ackward), repeated when too short.

        Raises:
            ScheduleError: the model cannot hold this schedule.
        """
        check_int(num_drop, 'num_drop', 0)
        check_int(num_stages, 'num_stages', 1)
        return cls.from_drops(
            [num_drop] * num_stages,
            depth=depth,
            num_frames_tokens=num_frames_tokens,
            tokens_per_frame=tokens_per_frame,
            directions=directions,
        )

    @classmethod
    def from_drops(
        cls,
        num_drops: Sequence[int],
        *,
        depth: int,
        num_frames_tokens: int,
        tokens_per_frame: int | None = None,
        directions: str = 'FBF',
    ) -> PruningSchedule:
        """Drops per chunk at the default places, e.g. [48, 96, 192] for 48 per frame throughout."""
        if not num_drops:
            raise ScheduleError('an empty list of drops; to drop nothing use None or 0')
        chunks = _halved_chunks(num_frames_tokens, num_drops)
        return cls._at_default_places(
            num_drops, chunks, depth, num_frames_tokens, tokens_per_frame, directions
        )

    @classmethod
    def paper_literal(
        cls,
        num_drop: int,
        *,
        depth: int,
        num_frames_tokens: int,
        tokens_per_frame: int | None = None,
        num_stages: int = 3,
        directions: str = 'FBF',
    ) -> PruningSchedule:
        """The paper's wording: r, r/2, r/4 per frame with every frame its own chunk at each stage.

        The released code instead drops r per chunk of 1, 2, 4 frames: the same totals.
        """
        check_int(num_drop, 'num_drop', 0)
        check_int(num_stages, 'num_stages', 1)
        if num_drop % 2 ** (num_stages - 1):
            raise ScheduleError(
                f'per frame the paper drops r / {2 ** (num_stages - 1)} at stage {num_stages}: '
                f'r = {num_drop} must be a multiple of {2 ** (num_stages - 1)}'
            )
        drops = [num_drop // 2**i for i in range(num_stages)]
        chunks = [num_frames_tokens] * num_stages
        return cls._at_default_places(
            drops, chunks, depth, num_frames_tokens, tokens_per_frame, directions
        )

    @classmethod
    def _at_default_places(
        cls,
        num_drops: Sequence[int],
        num_chunks: Sequence[int],
        depth: int,
        num_frames_tokens: int,
        tokens_per_frame: int | None,
        directions: str,
    ) -> PruningSchedule:
        if not directions or set(directions) - {'F', 'B'}:
            raise ScheduleError(
                f"directions must be letters F and B such as 'FBF', got {directions!r}"
            )
        count = len(num_drops)
        if count > depth:
            raise ScheduleError(f'{count} stages do not fit into a model of {depth} blocks')
        schedule = cls(
            tuple(
                PruningStage(
                    after_block=i * depth // count,
                    num_chunks=num_chunks[i],
                    num_drop=num_drops[i],
                    backward=directions[i % len(directions)] == 'B',
                )
                for i in range(count)
            )
        )
        if tokens_per_frame is not None:
            schedule.validate(
                depth=depth, num_frames_tokens=num_frames_tokens, tokens_per_frame=tokens_per_frame
            )
        return schedule

    @classmethod
    def parse(
        cls,
        spec: None | int | Sequence[int] | Sequence[Mapping[str, Any]] | PruningSchedule,
        *,
        depth: int,
        num_frames_tokens: int,
        tokens_per_frame: int,
    ) -> PruningSchedule:
        """Build a schedule from what a config holds and check it against the model.

        Args:
            spec: None (drop nothing), an int (the paper's r), a list of ints (drops per chunk at
                the default places) or a list of dict(after_block=, num_chunks=, num_drop=,
                backward=).

        Raises:
            ScheduleError: naming the stage, the value and what would be right.
        """
        size: dict[str, Any] = dict(
            depth=depth, num_frames_tokens=num_frames_tokens, tokens_per_frame=tokens_per_frame
        )
        if spec is None:
            return cls()
        if isinstance(spec, int) and not isinstance(spec, bool):
            if spec == 0:
                return cls()
            return cls.from_drop(spec, **size)
        if isinstance(spec, PruningSchedule):
            schedule = spec
        elif not isinstance(spec, Sequence) or isinstance(spec, str | bytes):
            raise ScheduleError(
                f'a schedule is None, an int, a list of ints or a list of dict(after_block=, '
                f'num_chunks=, num_drop=, backward=), got {spec!r}'
            )
        elif spec and all(isinstance(item, Mapping) for item in spec):
            dicts = cast('Sequence[Mapping[str, Any]]', spec)
            schedule = cls(tuple(stage_from_mapping(item, i) for i, item in enumerate(dicts)))
        else:
            return cls.from_drops(cast('Sequence[int]', spec), **size)
        schedule.validate(**size)
        return schedule

    def validate(self, *, depth: int, num_frames_tokens: int, tokens_per_frame: int) -> None:
        """Check every stage against the model.

        Args:
            depth: number of transformer blocks.
            num_frames_tokens: frames / tubelet size.
            tokens_per_frame: tokens of one frame of the grid, e.g. 196.

        Raises:
            ScheduleError: a stage stands behind the last block, would split its tokens into chunks
            that are not made of whole frames, or would drop a chunk whole.
        """
        num_tokens = num_frames_tokens * tokens_per_frame
        chunks_before = num_frames_tokens
        for i, stage in enumerate(self.stages):
            name = f'pruning stage {i + 1} (after block {stage.after_block})'
            if stage.after_block >= depth:
                raise ScheduleError(f'{name}: the last block of this model is {depth - 1}')
            if stage.num_drop == 0:
                continue
            if stage.num_chunks is None:
                raise ScheduleError(f'{name}: num_chunks is missing')
            if chunks_before % stage.num_chunks:
                divisors = [d for d in range(1, chunks_before + 1) if chunks_before % d == 0]
                raise ScheduleError(
                    f'{name}: chunks of whole frames are only possible with num_chunks one of '
                    f'{divisors} here, got {stage.num_chunks}'
                )
            chunks_before = stage.num_chunks
            per_chunk = num_tokens // stage.num_chunks
            if stage.num_drop >= per_chunk:
                raise ScheduleError(
                    f'{name}: cannot drop {stage.num_drop} of {per_chunk} tokens per chunk; '
                    f'at most {per_chunk - 1} can go'
                )
            num_tokens -= stage.total_drop

    @property
    def active(self) -> bool:
        """Whether any stage drops anything."""
        return any(stage.num_drop for stage in self.stages)

    def tokens_after_stages(self, num_tokens: int) -> list[int]:
        """Tokens per clip left after each stage, e.g. [1056, 800, 672] for r = 64 of 1568."""
        left = []
        for stage in self.stages:
            num_tokens -= stage.total_drop
            left.append(num_tokens)
        return left


def check_int(value: int, name: str, least: int) -> None:
    """Raise ScheduleError unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ScheduleError(f'{name} must be a whole number of at least {least}, got {value!r}')


def _halved_chunks(num_frames_tokens: int, num_drops: Sequence[int]) -> list[int]:
    """T, T/2, T/4, ...; only stages that drop something need an even split."""
    check_int(num_frames_tokens, 'num_frames_tokens', 1)
    chunks = []
    for i, num_drop in enumerate(num_drops):
        check_int(num_drop, f'drop of stage {i + 1}', 0)
        if num_drop and num_frames_tokens % 2**i:
            raise ScheduleError(
                f'stage {i + 1} groups {2**i} temporal tokens into a chunk, but the model has '
                f'{num_frames_tokens} (frames / tubelet size): use a multiple of {2**i}, or give '
                f'the stages as a list of dict(after_block=, num_chunks=, num_drop=, backward=)'
            )
        chunks.append(max(num_frames_tokens // 2**i, 1))
    return chunks


def stage_from_mapping(item: Mapping[str, Any], index: int) -> PruningStage:
    """Build a stage from a config's dict; errors name its number (from 1), ``index`` + 1."""
    known = [field.name for field in fields(PruningStage)]
    unknown = sorted(set(item) - set(known))
    missing = [name for name in known if name not in item and name != 'backward']
    if unknown or missing:
        problem = f'unknown {unknown}' if unknown else f'missing {missing}'
        raise ScheduleError(f'pruning stage {index + 1}: {problem}; a stage has the keys {known}')
    try:
        return PruningStage(**item)
    except ScheduleError as error:
        raise ScheduleError(f'pruning stage {index + 1}: {error}') from None


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
