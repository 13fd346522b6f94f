"""What a backbone offers to everything that works with one, so that nobody asks which it is.

A new backbone derives from :class:`PrunableBackbone`, fills in what is abstract, and runs its
stages with :class:`sta.pruning.stages.StageRun`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

from sta.errors import ScheduleError
from sta.pruning import Pruner, PruningSchedule, Variant, build_pruner
from sta.pruning.base import check_stages
from sta.pruning.variants import NO_DEFAULTS, Defaults

ClipShape = tuple[int, int, int, int]
Size = tuple[int, int, int]


def shape_of(clips: Tensor) -> ClipShape:
    """(3, frames, H, W) of clips (..., 3, frames, H, W)."""
    *_, channels, frames, height, width = clips.shape
    return channels, frames, height, width


# How the host's transformers draw their weights, in mmengine's words.
INIT = (
    dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
)


class BoundVariant(NamedTuple):
    """A variant as one backbone runs it: schedule parsed, pruner built, both checked against it.

    Attributes:
        name: of the variant.
        schedule: of this backbone.
        pruner: that may be asked again and again.
    """

    name: str
    schedule: PruningSchedule
    pruner: Pruner


class PrunableBackbone(nn.Module, ABC):
    """The protocol of backbones, and what they share: a variant, and ways to set it.

    Attributes:
        schedule: the parsed PruningSchedule.
        pruner: the pruner in use.
        in_channels: channels of the clips that it is built for.
        num_frames: their frames.
        img_size: their rows and columns.
        pruner_defaults: by class name of a pruner, settings that are assumed where nothing is said.
        host_needs_autocast: whether mmaction2's own backbone runs in half precision under autocast
            only.
    """

    schedule: PruningSchedule
    pruner: Pruner
    in_channels: int
    num_frames: int
    img_size: int
    pruner_defaults: Defaults = NO_DEFAULTS
    host_needs_autocast: bool = False

    @property
    def clip_shape(self) -> ClipShape:
        """(3, frames, H, W) of the clips that it is built for."""
        return self.in_channels, self.num_frames, self.img_size, self.img_size

    @property
    def stage_places(self) -> tuple[int, ...] | None:
        """Blocks that stages can stand behind, 0-based; None: behind any."""
        return None

    @property
    def decay_layers(self) -> int | None:
        """Blocks as mmaction2's constructor of lower rates for lower layers counts them.

        None where it does not know the model.
        """
        return None

    @property
    @abstractmethod
    def cell(self) -> Size:
        """Frames, rows and columns of pixels of a token of the first block."""

    @abstractmethod
    def token_grid(self, clip_shape: ClipShape) -> Size:
        """Frames, rows and columns of tokens of a clip of (3, frames, H, W) pixels."""

    @abstractmethod
    def blocks_by_level(self) -> list[tuple[int, nn.Module]]:
        """Every transformer block in order, with the number of patch mergings before it."""

    @abstractmethod
    def num_tokens(self, clip_shape: ClipShape) -> int:
        """Tokens that reach the head when none is dropped, for a clip of (3, frames, H, W)."""

    @abstractmethod
    def tokens_after_stages(self, clip_shape: ClipShape) -> list[int]:
        """Tokens per clip right after each pruning stage, for a clip of (3, frames, H, W)."""

    @abstractmethod
    def parse_schedule(self, schedule: Any) -> PruningSchedule:
        """Parse a schedule and check it against this model.

        Raises:
            ScheduleError: it does not fit.
        """

    @abstractmethod
    def drop_ladder(self, clip_shape: ClipShape) -> list[Any]:
        """Schedules from the least to the most dropped, for a clip of (3, frames, H, W)."""

    @abstractmethod
    def build_host(self) -> nn.Module:
        """mmaction2's own backbone of the same settings, with any weights."""

    @abstractmethod
    def check_pruner(self, pruner: Pruner) -> None:
        """Raise ScheduleError when this backbone cannot work with a pruner."""

    def kept_at_input(self, x: Tensor) -> list[Tensor]:
        """(L_i,) int64 places of the tokens that a pruner leaves of each clip before any block."""
        raise TypeError(f'{type(self).__name__} drops nothing at the input')

    def host(self) -> nn.Module:
        """mmaction2's own backbone on the same weights, dtype and device, unpruned; a copy."""
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='torch.meshgrid')  # the host's own call
            host = self.build_host()
        host.load_state_dict(self.state_dict())
        parameter = next(self.parameters())
        host.to(parameter.device, parameter.dtype)
        host.train(self.training)  # SwinTransformer3D.train returns nothing
        return host

    def set_schedule(self, schedule: Any) -> None:
        """Choose where and how many tokens are dropped.

        Args:
            schedule: None, an int (the paper's r), a list of ints, a list of dicts, or a
                PruningSchedule, see :meth:`sta.pruning.PruningSchedule.parse`.

        Raises:
            ScheduleError: the model cannot hold it; the old one stays.
        """
        self._set(self._checked('', self.parse_schedule(schedule), self.pruner))

    def set_pruner(self, pruner: Any) -> None:
        """Choose how tokens are dropped.

        Args:
            pruner: settings, dict(type=..., ...), or a pruner.

        Raises:
            ValueError: unknown or unfit for the schedule; the old one stays.
        """
        pruner = build_pruner(pruner, self.pruner_defaults)
        if pruner.at_input:
            # A variant without a pruner would take it for its own, and drop where nothing is to go.
            raise ScheduleError(
                f'{type(pruner).__name__} drops whatever the schedule: it is no setting of a '
                f'backbone, only of test_cfg.pruners and --pruners'
            )
        self._set(self._checked('', self.schedule, pruner))

    def bind(self, variant: Variant | BoundVariant) -> BoundVariant:
        """Parse and build a variant once, to be run often; one without a pruner keeps the present.

        Raises:
            PrunerError, ScheduleError: it does not suit this model.
        """
        if isinstance(variant, BoundVariant):
            return variant
        pruner = self.pruner
        if variant.pruner is not None:
            pruner = build_pruner(variant.pruner, self.pruner_defaults)
        return self._checked(variant.name, self.parse_schedule(variant.schedule), pruner)

    def set_variant(self, variant: Variant | BoundVariant) -> None:
        """Choose schedule and pruner together; a variant without a pruner keeps the present one."""
        self._set(self.bind(variant))

    @contextmanager
    def using(self, variant: Variant | BoundVariant) -> Iterator[None]:
        """Run a variant inside a with block and restore the present one after it."""
        before = self.schedule, self.pruner
        self.set_variant(variant)
        try:
            yield
        finally:
            self.schedule, self.pruner = before

    def _checked(self, name: str, schedule: PruningSchedule, pruner: Pruner) -> BoundVariant:
        if schedule.active or pruner.at_input:
            self.check_pruner(pruner)
        check_stages(pruner, schedule.stages)
        return BoundVariant(name, schedule, pruner)

    def _set(self, bound: BoundVariant) -> None:
        self.schedule, self.pruner = bound.schedule, bound.pruner


class PrunableRecognizer(nn.Module):
    """mmaction2's Recognizer3D around such a backbone, for annotations: nobody builds this one."""

    backbone: PrunableBackbone
    cls_head: Any
    data_preprocessor: nn.Module

    @abstractmethod
    def extract_feat(self, inputs: Tensor, stage: str) -> tuple[Tensor, dict[str, Any]]:
        """(B, views, 3, T, H, W) to what leaves ``stage``, 'backbone' or 'head'."""
