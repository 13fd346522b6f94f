"""What pruning methods are made of: their base class, what a stage is told and gives back, checks.

A method is a subclass of :class:`Pruner` with its short name, in a file of its own or anybody's:
defining it is all that it takes to be known to command lines, configs and tables.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from sta.errors import PrunerError, ScheduleError

from .schedule import PruningStage

SIMILARITIES = ('query', 'key', 'value', 'ffn')


class StageContext(NamedTuple):
    """Facts of one pruning stage.

    Attributes:
        stage_index: 0-based number of the stage.
        positions: (B, L) int64, row * W + column of each token in its frame.
        grid_size: (H, W), rows and columns of one frame.
        clip_ids: (B,) int64, see :func:`sta.pruning.random_drop.clip_fingerprint`.
        sizes: (B, L) float32, how many input tokens each one stands for; None: one each.
    """

    stage_index: int
    positions: Tensor
    grid_size: tuple[int, int]
    clip_ids: Tensor
    sizes: Tensor | None = None


class StageScores(NamedTuple):
    """What a stage ranked its tokens by, chunks in natural order; for pictures and tests.

    Attributes:
        importance: (T, B, N) float32, semantic importance F, Eq. 4.
        redundancy: T of (B, N) float32, accumulated redundancy A_t of every token of the chunk,
            Eq. 3, before its kept part is handed on; None for the first chunk, which has no past.
        ranked: T of (B, N) float32, the pruning score, Eq. 5, smallest kept; None likewise.
    """

    importance: Tensor
    redundancy: tuple[Tensor | None, ...]
    ranked: tuple[Tensor | None, ...]


class Pruned(NamedTuple):
    """What a pruning stage leaves.

    Attributes:
        tokens: (B, L', C).
        kept: (B, L') int64, the place of each one in the stage's input.
        sizes: (B, L') float32, how many input tokens each one stands for; None: one each.
        scores: what the stage's input was ranked by; None from a pruner without such scores.
    """

    tokens: Tensor
    kept: Tensor
    sizes: Tensor | None = None
    scores: StageScores | None = None


class Pruner:
    """A method that says which tokens of a stage stay.

    A subclass is known at once, by its class name in configs (``dict(type='EvenPruner')``) and by
    its short name on command lines and in tables::

        class EvenPruner(Pruner, name='even'): ...

    Its settings are the keyword arguments of its constructor, each with a default.

    Args of the class statement:
        name: short name; '' is the class name, None one that nobody is to choose (a wrapper).
        presets: short names of settings of it, e.g. {'temporal': {'score': 'temporal'}}.

    Attributes:
        merges: tokens are averaged, not dropped: they have no place of their own any more.
        draws: the outcome depends on random numbers, hence on ``context.clip_ids``.
        per_chunk: every chunk loses ``stage.num_drop`` tokens; VideoSwin takes no other pruner.
        similarity: the features that a stage is given: 'query', 'key' or 'value' of the block's
            attention, mean over heads, the output of its 'ffn', or 'key_and_sharpness'; None: none.
        at_input: tokens go before the first block, as many as the clip lets it, see
            :meth:`kept_at_input`; such a pruner takes no schedule.
        amount: the setting that then says how much goes.
    """

    short_name: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    merges: bool = False
    draws: bool = False
    per_chunk: bool = False
    similarity: str | None = None
    at_input: bool = False
    amount: str | None = None

    def __init_subclass__(
        cls,
        *,
        name: str | None = '',
        presets: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        super().__init_subclass__()
        if name is None:
            return
        cls.short_name, cls.presets = name or cls.__name__, presets
        for known in PRUNERS.values():
            # The same class again is one of a notebook's cell, run a second time.
            if (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__):
                continue
            if taken := _names(known) & _names(cls):
                raise PrunerError(
                    f'a pruner is called {sorted(taken)[0]!r} already: {known.__module__}.'
                    f'{known.__qualname__}; choose another name for {cls.__qualname__}'
                )
        PRUNERS[cls.__name__] = cls

    def check(self, stage: PruningStage) -> None:
        """Raise ValueError when this pruner cannot serve a stage; here every stage will do."""

    def __call__(
        self, tokens: Tensor, features: Any, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage.

        Args:
            tokens: (B, L, C), in the order of time; ``stage.num_chunks`` chunks.
            features: (B, L, D), what ``similarity`` asks for; None where it asks for nothing. A
                subclass knows which of them it gets.
            stage: how many tokens each chunk loses.
            context: of the clip.
        """
        raise TypeError(f'{type(self).__name__} prunes no stages')

    def kept_at_input(self, clip: Tensor, grid: tuple[int, int, int]) -> list[Tensor]:
        """Which tokens are computed at all, where that is decided at the input.

        Args:
            clip: (B, 3, frames, H, W), normalised.
            grid: (T, rows, columns) of its tokens.

        Returns:
            For each clip (L_i,) int64 places in the T * rows * columns tokens, ascending.
        """
        raise TypeError(f'{type(self).__name__} drops nothing at the input')


PRUNERS: dict[str, type[Pruner]] = {}


class WatchedPruner(Pruner, name=None):
    """A pruner that answers like another one, while somebody looks on.

    Args:
        pruner: the one that does the work.
        around: gives a context that every call runs in, e.g. a profiler's.
        after: is shown what every stage leaves, and its context.
    """

    def __init__(
        self,
        pruner: Pruner,
        *,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
        after: Callable[[Pruned, StageContext], None] | None = None,
    ) -> None:
        self._pruner, self._around, self._after = pruner, around, after
        for trait in ('merges', 'draws', 'per_chunk', 'similarity', 'at_input', 'amount'):
            setattr(self, trait, getattr(pruner, trait))

    def check(self, stage: PruningStage) -> None:
        """As the other one does."""
        self._pruner.check(stage)

    def __call__(
        self, tokens: Tensor, features: Tensor | None, stage: PruningStage, context: StageContext
    ) -> Pruned:
        """Prune one stage."""
        with self._around():
            pruned = self._pruner(tokens, features, stage, context)
        if self._after is not None:
            self._after(pruned, context)
        return pruned

    def kept_at_input(self, clip: Tensor, grid: tuple[int, int, int]) -> list[Tensor]:
        """Which tokens are computed at all."""
        with self._around():
            return self._pruner.kept_at_input(clip, grid)


def build_pruner(
    settings: Mapping[str, Any] | Pruner,
    defaults: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Pruner:
    """Build a pruner from its settings.

    Args:
        settings: dict(type=class name of a pruner, its arguments), or a pruner, which is returned.
        defaults: by class name, what is assumed of arguments that are not given.

    Raises:
        PrunerError: no type, an unknown type or argument, a wrong value; names what is known.
    """
    if isinstance(settings, Pruner):
        return settings
    if not isinstance(settings, Mapping):
        raise PrunerError(f"a pruner is dict(type='STAPruner', ...) or a Pruner, got {settings!r}")
    arguments = dict(settings)
    kind = arguments.pop('type', None)
    if kind not in PRUNERS:
        raise PrunerError(f'unknown pruner type {kind!r}; known are {sorted(PRUNERS)}')
    accepted = list(inspect.signature(PRUNERS[kind]).parameters)
    if unknown := sorted(set(arguments) - set(accepted)):
        raise PrunerError(f'{kind} has no argument {unknown}; it accepts {accepted}')
    try:
        return PRUNERS[kind](**{**defaults.get(kind, {}), **arguments})
    except (TypeError, ValueError) as error:
        raise PrunerError(f'{kind}: {error}') from None


def check_stages(pruner: Pruner, stages: Sequence[PruningStage]) -> None:
    """See that a pruner can serve every stage that drops something.

    Raises:
        ScheduleError: it cannot; names the stage.
    """
    for number, stage in enumerate(stages, 1):
        if stage.num_drop:
            try:
                pruner.check(stage)
            except ValueError as error:
                raise ScheduleError(
                    f'pruning stage {number} (after block {stage.after_block}): {error}'
                ) from None


def short_names() -> dict[str, dict[str, Any]]:
    """What may be typed for a pruner, in the order of the alphabet, and what it stands for."""
    names = {known.short_name: {'type': kind} for kind, known in PRUNERS.items()}
    for kind, known in PRUNERS.items():
        names |= {name: {'type': kind, **preset} for name, preset in known.presets.items()}
    return dict(sorted(names.items()))


def _names(pruner: type[Pruner]) -> set[str]:
    return {pruner.__name__, pruner.short_name, *pruner.presets}


def select_tokens(tokens: Tensor, kept: Tensor) -> Tensor:
    """Gather tokens.

    Args:
        tokens: (B, L, C).
        kept: (B, L') int64.

    Returns:
        (B, L', C).
    """
    return tokens.gather(1, kept.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def full_precision(device_type: str) -> AbstractContextManager[Any]:
    """Switch autocast off; devices without autocast (meta) need nothing."""
    if device_type == 'meta':
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def tokens_per_chunk(length: int, num_chunks: int, num_drop: int) -> int:
    """N of a clip of ``length`` tokens.

    Raises:
        ScheduleError: uneven chunks, or a drop that is negative or not below N.
    """
    if num_chunks < 1 or length % num_chunks:
        raise ScheduleError(f'{length} tokens cannot be split evenly into {num_chunks} chunks')
    per_chunk = length // num_chunks
    if not 0 <= num_drop < per_chunk:
        raise ScheduleError(
            f'num_drop must be between 0 and {per_chunk - 1} ({per_chunk} tokens per chunk), '
            f'got {num_drop}'
        )
    return per_chunk


def check_choice(value: str, known: tuple[str, ...], name: str) -> None:
    """Raise ValueError naming the known values when ``value`` is none of them."""
    if value not in known:
        raise ValueError(f'{name} must be one of {list(known)}, got {value!r}')


def check_seed(seed: int) -> None:
    """Raise ValueError for a seed that is no whole number of at least 0."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f'seed must be a whole number of at least 0, got {seed!r}')
