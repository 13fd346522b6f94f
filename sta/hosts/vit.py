"""Token pruning hung into a vision transformer of somebody else's by forward hooks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sta.errors import HostModelError
from sta.pruning import PruningSchedule
from sta.pruning.base import check_stages
from sta.pruning.stages import Size, StageRun

from .adapters import Anatomy, head_mean, submodule, usable_pruner

Args = tuple[Any, ...]


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
            handles.append(join.register_forward_hook(self._join))
        if not self.schedule.stages:
            return
        handles.append(host.register_forward_pre_hook(self._prepare))
        embedding = submodule(host, anatomy.embedding_path)
        handles.append(embedding.register_forward_pre_hook(self._begin, with_kwargs=True))
        source = anatomy.ffn_path if self.pruner.similarity == 'ffn' else anatomy.norm_path
        blocks = anatomy.blocks(host)
        for stage in self.schedule.stages:
            block = blocks[stage.after_block]
            if self.pruner.similarity is not None:
                handles.append(submodule(block, source).register_forward_hook(self._remember))
            # Before hooks that are there already: they are to see what the next block will.
            hook = partial(self._prune, stage.after_block)
            handles.append(block.register_forward_hook(hook, prepend=True))
        handles.append(host.register_forward_hook(self._end, always_call=True))

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

    def _prepare(self, host: nn.Module, args: Args) -> None:
        """Before the host: forget a pass that was cut off."""
        self._current.end()
        self._check_checkpointing(host)

    def _begin(self, embedding: nn.Module, args: Args, kwargs: dict[str, Any]) -> None:
        """Before the embedding: the pixels say which clips these are and what grid they have."""
        clip = self.anatomy.clip(args, kwargs)
        grid = self.anatomy.grid(embedding, clip)
        if grid != self.grid:
            self._parse(self.schedule, grid)  # refuses one that does not fit this clip
        passing = ForwardPass(StageRun(self.schedule, self.pruner, clip, grid))
        self._current.begin(passing)
        self.kept = passing.run.kept

    def _join(self, module: nn.Module, args: Args, tokens: Tensor) -> Tensor:
        """Behind the embedding of frames: put those of a clip together."""
        return self.anatomy.join(tokens)

    def _remember(self, module: nn.Module, args: Args, features: Tensor) -> None:
        """Behind a norm or feed-forward: keep what the running block compares tokens by."""
        passing = self._current.passing
        if passing is not None:
            passing.features = features.detach()

    def _prune(self, number: int, block: nn.Module, args: Args, output: Any) -> Any:
        """Behind block ``number``: replace its tokens (B, L, C), or a tuple that starts so."""
        passing = self._current.passing
        if passing is None or (passing.features is None and self.pruner.similarity is not None):
            raise HostModelError(
                f'block {number} drops tokens, but runs outside a forward pass of the whole model, '
                f'or torch.compile was given its blocks one by one: compile the whole model, or '
                f'call sta.remove(model) first'
            )
        tokens = output[0] if isinstance(output, tuple) else output
        run = passing.run
        _check_tokens(tokens, run)
        features, passing.features = passing.features, None
        similarity = run.similarity_after(number)
        if features is not None and similarity is not None and similarity != 'ffn':
            features = head_mean(features, self.anatomy.projection(block, similarity))
        tokens = run.after_block(number, tokens, features)
        return (tokens, *output[1:]) if isinstance(output, tuple) else tokens

    def _end(self, host: nn.Module, args: Args, output: Any) -> None:
        """Behind the host, also when it fails: forget the pass."""
        self._current.end()


def _check_tokens(tokens: Tensor, run: StageRun) -> None:
    batch, length = run.shape
    if tuple(tokens.shape[:2]) != (batch, length):
        raise HostModelError(
            f'expected {length} tokens in each of {batch} clips, a whole grid or what pruning left '
            f'of it, but the model has {tuple(tokens.shape[:2])}: masked or additional tokens have '
            f'no place in it'
        )


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


@dataclass
class ForwardPass:
    """One forward pass.

    Attributes:
        run: through the stages.
        features: what the running block compares tokens by or computes that from, (B, L, .).
    """

    run: StageRun
    features: Tensor | None = None


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
