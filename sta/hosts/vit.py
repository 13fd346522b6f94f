"""Token pruning hung into a vision transformer of somebody else's by forward hooks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sta.errors import HostModelError
from sta.pruning import PruningSchedule, PruningStage, StageContext, clip_fingerprint
from sta.pruning.base import check_stages

from .adapters import Anatomy, Size, head_mean, submodule, usable_pruner


class ViTPruning:
    """A schedule and a pruner for one host, and the hooks that carry them out.

    The hooks are methods of this object, so a pickled or copied model carries its own. Parameters,
    buffers, modules and classes of the host stay as they are.

    Args:
        host: the model.
        anatomy: where it keeps what.
        schedule: see :meth:`sta.pruning.PruningSchedule.parse`.
        pruner: settings, a pruner, or None for STAPruner.

    Attributes:
        kept: (B, L_i) int64 per stage of the last forward pass, each into the input of its stage;
            None before the first.

    Raises:
        HostModelError: the model cannot be pruned from outside.
        ScheduleError: it cannot hold the schedule.
    """

    def __init__(self, host: nn.Module, anatomy: Anatomy, *, schedule: Any, pruner: Any) -> None:
        anatomy.check(host)
        anatomy.check_structure(host)
        self.anatomy = anatomy
        self.depth = len(anatomy.blocks(host))
        self.grid = anatomy.grid_of_model(host)
        self.pruner = usable_pruner(pruner, type(host).__name__)
        self.schedule = self._parse(schedule, self.grid)
        check_stages(self.pruner, self.schedule.stages)
        self._check_checkpointing(host)
        self.kept: list[Tensor] | None = None
        self._current = CurrentPass()
        self._handles: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'kept': None}

    def attach(self, host: nn.Module) -> None:
        """Hang the hooks into the host."""
        anatomy, handles = self.anatomy, self._handles
        for name in anatomy.refused_methods:
            if name not in host.__dict__:
                setattr(host, name, Refuse(name))
        if anatomy.join_path is not None:
            join = submodule(host, anatomy.join_path)
            handles.append(join.register_forward_hook(Join(self)))
        if not self.schedule.stages:
            return
        handles.append(host.register_forward_pre_hook(Prepare(self)))
        embedding = submodule(host, anatomy.embedding_path)
        begin = Begin(self)
        handles.append(embedding.register_forward_pre_hook(begin, with_kwargs=True))
        source = anatomy.ffn_path if self.pruner.similarity == 'ffn' else anatomy.norm_path
        blocks = anatomy.blocks(host)
        for stage in self.schedule.stages:
            block = blocks[stage.after_block]
            if self.pruner.similarity is not None:
                remember = Remember(self)
                handles.append(submodule(block, source).register_forward_hook(remember))
            # Before hooks that are there already: they are to see what the next block will.
            hook = Prune(self, stage.after_block)
            handles.append(block.register_forward_hook(hook, prepend=True))
        handles.append(host.register_forward_hook(End(self), always_call=True))

    def detach(self, host: nn.Module) -> None:
        """Take the hooks out again; the host is what it was."""
        while self._handles:
            self._handles.pop().remove()
        for name in self.anatomy.refused_methods:
            if isinstance(host.__dict__.get(name), Refuse):
                delattr(host, name)

    def _parse(self, schedule: Any, grid: Size) -> PruningSchedule:
        frames, rows, columns = grid
        return PruningSchedule.parse(
            schedule,
            depth=self.depth,
            num_frames_tokens=frames,
            tokens_per_frame=rows * columns,
        )

    def _check_checkpointing(self, host: nn.Module) -> None:
        if host.training and self.anatomy.checkpointed(host):
            raise HostModelError(
                'gradient checkpointing runs blocks twice in training, the second time without '
                'what pruning needs to know: switch it off, or call model.eval()'
            )

    def prepare(self, host: nn.Module) -> None:
        """Before the host runs."""
        self._current.end()
        self._check_checkpointing(host)

    def begin(self, embedding: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the embedding runs."""
        clip = self.anatomy.clip(args, kwargs)
        grid = self.anatomy.grid(embedding, clip)
        schedule = self.schedule if grid == self.grid else self._parse(self.schedule, grid)
        stages = {stage.after_block: (i, stage) for i, stage in enumerate(schedule.stages)}
        context = first_context(grid, clip, draws=self.pruner.draws)
        passing = ForwardPass(stages, context)
        self._current.begin(passing)
        self.kept = passing.kept

    def remember(self, features: Tensor) -> None:
        """Keep what the running block compares tokens by, (B, L, .)."""
        passing = self._current.passing
        if passing is not None:
            passing.features = features.detach()

    def prune(self, number: int, block: nn.Module, output: Any) -> Any:
        """Replace what block ``number`` puts out, tokens (B, L, C) or a tuple that starts so."""
        passing = self._current.passing
        if passing is None or (passing.features is None and self.pruner.similarity is not None):
            raise HostModelError(
                f'block {number} drops tokens, but runs outside a forward pass of the whole model, '
                f'or torch.compile was given its blocks one by one: compile the whole model, or '
                f'call sta.remove(model) first'
            )
        tokens = output[0] if isinstance(output, tuple) else output
        self._check_tokens(tokens, passing)
        index, stage = passing.stages[number]
        features, passing.features = passing.features, None
        if not stage.num_drop:
            everything = torch.arange(tokens.shape[1], device=tokens.device)
            passing.kept.append(everything.repeat(tokens.shape[0], 1))
            return None
        if self.pruner.similarity not in (None, 'ffn'):
            projection = self.anatomy.projection(block, self.pruner.similarity)
            features = head_mean(features, projection)
        context = passing.context._replace(stage_index=index)
        pruned = self.pruner(tokens, features, stage, context)
        positions = context.positions.gather(1, pruned.kept)
        passing.context = context._replace(positions=positions)
        passing.kept.append(pruned.kept)
        return (pruned.tokens, *output[1:]) if isinstance(output, tuple) else pruned.tokens

    def _check_tokens(self, tokens: Tensor, passing: ForwardPass) -> None:
        expected = passing.context.positions.shape
        if tokens.shape[:2] != expected:
            raise HostModelError(
                f'expected {expected[1]} tokens in each of {expected[0]} clips, a whole grid or '
                f'what pruning left of it, but the model has {tuple(tokens.shape[:2])}: masked or '
                f'additional tokens have no place in it'
            )

    def end(self) -> None:
        """After the host has run."""
        self._current.end()


Args = tuple[Any, ...]


class Hook:
    """Something that a module calls; all hooks of a host share its pruning."""

    def __init__(self, pruning: ViTPruning) -> None:
        self.pruning = pruning


class Refuse:
    """In place of a method that cannot work while tokens are dropped."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *_: Any, **__: Any) -> None:
        """Raise HostModelError."""
        raise HostModelError(
            f'{self.name} wants the whole token grid behind every block, and tokens are dropped: '
            f'call sta.remove(model) first'
        )


class Prepare(Hook):
    """Before the host: forget a pass that was cut off."""

    def __call__(self, host: nn.Module, args: Args) -> None:
        """Forward pre-hook."""
        self.pruning.prepare(host)


class Begin(Hook):
    """Before the embedding: the pixels say which clips these are and what grid they have."""

    def __call__(self, embedding: nn.Module, args: Args, kwargs: dict[str, Any]) -> None:
        """Forward pre-hook, with keyword arguments."""
        self.pruning.begin(embedding, args, kwargs)


class Join(Hook):
    """Behind the embedding of frames: put those of a clip together."""

    def __call__(self, module: nn.Module, args: Args, tokens: Tensor) -> Tensor:
        """Forward hook."""
        return self.pruning.anatomy.join(tokens)


class Remember(Hook):
    """Behind a norm or feed-forward: keep its output for the stage behind this block."""

    def __call__(self, module: nn.Module, args: Args, features: Tensor) -> None:
        """Forward hook."""
        self.pruning.remember(features)


class Prune(Hook):
    """Behind the block of a stage: drop tokens."""

    def __init__(self, pruning: ViTPruning, number: int) -> None:
        super().__init__(pruning)
        self.number = number

    def __call__(self, block: nn.Module, args: Args, output: Any) -> Any:
        """Forward hook."""
        return self.pruning.prune(self.number, block, output)


class End(Hook):
    """Behind the host, also when it fails: forget the pass."""

    def __call__(self, host: nn.Module, args: Args, output: Any) -> None:
        """Forward hook that is always called."""
        self.pruning.end()


@dataclass
class ForwardPass:
    """One forward pass.

    Attributes:
        stages: number and stage after each 0-based block that has one.
        context: of the next stage.
        features: what the running block compares tokens by or computes that from, (B, L, .).
        kept: (B, L_i) int64 per stage run so far, indices into its input.
    """

    stages: dict[int, tuple[int, PruningStage]]
    context: StageContext
    features: Tensor | None = None
    kept: list[Tensor] = field(default_factory=list)


class CurrentPass:
    """The forward pass of each thread, so that threads may share a model; a copy starts with none.

    Not a threading.local, and without threads where torch.compile traces: dynamo understands
    neither.
    """

    def __init__(self) -> None:
        self._by_thread: dict[int, ForwardPass] = {}

    def __reduce__(self) -> tuple[type[CurrentPass], tuple[()]]:
        return CurrentPass, ()

    @property
    def passing(self) -> ForwardPass | None:
        """That of the calling thread, or None."""
        return self._by_thread.get(_thread())

    def begin(self, passing: ForwardPass) -> None:
        """Start a pass in the calling thread."""
        self._by_thread[_thread()] = passing

    def end(self) -> None:
        """Forget that of the calling thread."""
        self._by_thread.pop(_thread(), None)


def _thread() -> int:
    return 0 if torch.compiler.is_compiling() else threading.get_ident()


def first_context(grid: Size, clip: Tensor, *, draws: bool) -> StageContext:
    """The context of the first stage.

    Args:
        grid: (T, H, W) of tokens.
        clip: (B, 3, frames, H, W).
        draws: whether clips must be told apart.
    """
    frames, rows, columns = grid
    positions = torch.arange(rows * columns, device=clip.device).repeat(frames)
    if draws:
        clip_ids = clip_fingerprint(clip)
    else:
        clip_ids = torch.zeros(len(clip), dtype=torch.int64, device=clip.device)
    return StageContext(
        stage_index=0,
        positions=positions.expand(len(clip), -1),
        grid_size=(rows, columns),
        clip_ids=clip_ids,
    )
