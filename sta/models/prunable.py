"""What every backbone with STA shares: a schedule, a pruner, and a way to set both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sta.errors import PrunerError, ScheduleError
from sta.pruning import Pruner, PruningSchedule, Variant, build_pruner
from sta.pruning.base import check_stages
from sta.pruning.variants import NO_DEFAULTS, Defaults

# How the host's transformers draw their weights, in mmengine's words.
INIT = (
    dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
)


class PrunableBackbone:
    """Mix-in that holds the variant a backbone runs; the backbone says what fits by overriding.

    Attributes:
        schedule: the parsed PruningSchedule.
        pruner: the pruner in use.
    """

    schedule: PruningSchedule
    pruner: Pruner
    # By class name of a pruner: settings that are assumed where nothing is said.
    pruner_defaults: Defaults = NO_DEFAULTS

    def parse_schedule(self, schedule: Any) -> PruningSchedule:
        """Parse and check a schedule against this model; the backbone defines it."""
        raise TypeError(f'{type(self).__name__} does not define parse_schedule')

    def drop_ladder(self, clip_shape: tuple[int, int, int, int]) -> list[Any]:
        """Schedules from the least to the most dropped; the backbone defines it."""
        raise TypeError(f'{type(self).__name__} does not define drop_ladder')

    def check_pruner(self, pruner: Pruner) -> None:
        """Raise ScheduleError when this backbone cannot work with a pruner; all will do."""

    def set_schedule(self, schedule: Any) -> None:
        """Choose where and how many tokens are dropped.

        Args:
            schedule: None, an int (the paper's r), a list of ints, a list of dicts, or a
                PruningSchedule, see :meth:`sta.pruning.PruningSchedule.parse`.

        Raises:
            ScheduleError: the model cannot hold it; the old one stays.
        """
        self._set(self.parse_schedule(schedule), self.pruner)

    def set_pruner(self, pruner: Any) -> None:
        """Choose how tokens are dropped.

        Args:
            pruner: settings, dict(type=..., ...), or a pruner.

        Raises:
            ValueError: unknown or unfit for the schedule; the old one stays.
        """
        pruner = self._as_pruner(pruner)
        if pruner.at_input:
            # A variant without a pruner would take it for its own, and drop where nothing is to go.
            raise ScheduleError(
                f'{type(pruner).__name__} drops whatever the schedule: it is no setting of a '
                f'backbone, only of test_cfg.pruners and --pruners'
            )
        self._set(self.schedule, pruner)

    def set_variant(self, variant: Variant) -> None:
        """Choose schedule and pruner together; a variant without a pruner keeps the present one."""
        pruner = self.pruner if variant.pruner is None else self._as_pruner(variant.pruner)
        self._set(self.parse_schedule(variant.schedule), pruner)

    @contextmanager
    def using(self, variant: Variant) -> Iterator[None]:
        """Run a variant inside a with block and restore the present one after it."""
        before = self.schedule, self.pruner
        self.set_variant(variant)
        try:
            yield
        finally:
            self.schedule, self.pruner = before

    def _as_pruner(self, pruner: Any) -> Pruner:
        if isinstance(pruner, Mapping):
            return build_pruner(pruner, self.pruner_defaults)
        if not isinstance(pruner, Pruner):
            raise PrunerError(
                f"a pruner is dict(type='STAPruner', ...) or a Pruner, got {pruner!r}"
            )
        return pruner

    def _set(self, schedule: PruningSchedule, pruner: Pruner) -> None:
        if schedule.active or pruner.at_input:
            self.check_pruner(pruner)
        check_stages(pruner, schedule.stages)
        self.schedule, self.pruner = schedule, pruner
