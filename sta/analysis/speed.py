"""How fast models run side by side: interleaved rounds, medians, and the share spent on pruning."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from sta.models.prunable import PrunableBackbone
from sta.pruning import WatchedPruner


@dataclass(frozen=True)
class Timing:
    """Seconds per forward pass of one contestant, one number per round.

    Attributes:
        name: the contestant.
        batch_size: clips in one forward.
        seconds: (rounds,) float64.
        pruning_share: share of the time spent in pruning stages, 0 to 1; None if not measured.
    """

    name: str
    batch_size: int
    seconds: np.ndarray
    pruning_share: float | None = None

    @property
    def median_s(self) -> float:
        """Median seconds per forward."""
        return float(np.median(self.seconds))

    @property
    def quartiles_s(self) -> tuple[float, float]:
        """First and third quartile of the seconds per forward."""
        low, high = np.quantile(self.seconds, [0.25, 0.75])
        return float(low), float(high)

    @property
    def clips_per_s(self) -> float:
        """Clips per second at the median."""
        return self.batch_size / self.median_s


def time_interleaved(
    contestants: Mapping[str, Callable[[], Any]],
    *,
    batch_size: int,
    rounds: int,
    warm_up: int,
    is_cuda: bool,
) -> list[Timing]:
    """Time contestants in turn, A B A B, so that a drifting machine slows all of them alike.

    On a GPU the host never waits between forwards; see :class:`sta.analysis.speed.CudaClock`.

    Args:
        contestants: what to run, by name; each call is one forward pass.
        batch_size: clips in one forward.
        rounds: timed forwards of each.
        warm_up: forwards of each beforehand, not counted.
        is_cuda: whether the forwards run on a GPU.
    """
    for run in contestants.values():
        for _ in range(warm_up):
            run()
    clock = clock_of(is_cuda)
    spans: dict[str, list[tuple[Any, Any]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = clock.mark()
            run()
            spans[name].append((start, clock.mark()))
    return [Timing(name, batch_size, clock.seconds(marks)) for name, marks in spans.items()]


def pruning_share(backbone: Any, run: Callable[[], Any], *, rounds: int, is_cuda: bool) -> float:
    """Share of a forward pass that its pruning stages take, 0 to 1.

    Args:
        backbone: with the variant set that is to be measured.
        run: one forward pass.
        rounds: forwards to average over.
        is_cuda: whether they run on a GPU.
    """
    original, clock = backbone.pruner, clock_of(is_cuda)
    spans: list[tuple[Any, Any]] = []

    @contextmanager
    def timed() -> Iterator[None]:
        begin = clock.mark()
        yield
        spans.append((begin, clock.mark()))

    backbone.pruner = WatchedPruner(original, around=timed)
    try:
        start = clock.mark()
        for _ in range(rounds):
            run()
        [whole] = clock.seconds([(start, clock.mark())])
        return float(clock.seconds(spans).sum() / whole)
    finally:
        backbone.pruner = original


class Clock(Protocol):
    """Marks points in time and says, afterwards, how far apart they were."""

    def mark(self) -> Any:
        """A point in time."""

    def seconds(self, spans: Sequence[tuple[Any, Any]]) -> np.ndarray:
        """Length of each span between two marks, (spans,) float64."""


class ProcessClock:
    """Wall-clock time of this process."""

    def mark(self) -> float:
        """Now."""
        return time.perf_counter()

    def seconds(self, spans: Sequence[tuple[float, float]]) -> np.ndarray:
        """Length of each span."""
        return np.array([end - start for start, end in spans], dtype=np.float64)


class CudaClock:
    """Time on the current GPU's stream, without waiting for it between marks.

    A mark is an event in the queue of work, so the host goes on launching: waiting for the GPU
    around every forward would add the launching of its first kernels to each. What the GPU spends
    idle because the host is too slow counts, as it does in earnest.
    """

    def mark(self) -> torch.cuda.Event:
        """An event behind all work launched so far."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, spans: Sequence[tuple[torch.cuda.Event, torch.cuda.Event]]) -> np.ndarray:
        """Length of each span; waits for the GPU once."""
        torch.cuda.synchronize()
        return np.array([start.elapsed_time(end) / 1e3 for start, end in spans], dtype=np.float64)


def clock_of(is_cuda: bool) -> Clock:
    """The clock for forwards on a GPU or on a CPU."""
    return CudaClock() if is_cuda else ProcessClock()


_STATUS, _RESET = Path('/proc/self/status'), Path('/proc/self/clear_refs')


def peak_mb(run: Callable[[], Any], *, is_cuda: bool) -> float | None:
    """Peak memory of one call in MB (10^6 bytes), weights and inputs that exist before not counted.

    On a GPU what torch's allocator handed out; on a CPU what the kernel says of the whole process,
    to some MB.

    Args:
        run: one forward pass.
        is_cuda: whether it runs on a GPU.

    Returns:
        None where the system does not say (it takes Linux' clear_refs).
    """
    if is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    try:
        _give_back()
        _RESET.write_text('5')  # sets the highest resident size back to the present one
        before = _status_kb('VmRSS')
        run()
        return max(_status_kb('VmHWM') - before, 0) * 1024 / 1e6
    except (OSError, StopIteration):
        return None


def _status_kb(key: str) -> int:
    lines = _STATUS.read_text(encoding='utf-8').splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{key}:'))


def _give_back() -> None:
    """Return freed memory to the system, else the next pass takes it unseen."""
    try:
        ctypes.CDLL('libc.so.6').malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        return


PARTS = ('linear layers', 'attention', 'windows and filling', 'pruning', 'norms and GELU', 'rest')
_ATTENTION, _PRUNING = 'sta: attention', 'sta: pruning'
_LINEAR = (
    'aten::addmm',
    'aten::mm',
    'aten::mkldnn_convolution',
    'aten::convolution_overrideable',
    'aten::cudnn_convolution',
    'aten::_addmm_activation',
    'aten::slow_conv3d_forward',
)
_MOVING = ('aten::index_select', 'aten::gather', 'aten::cat', 'aten::roll', 'aten::constant_pad_nd')
_NORMS = ('aten::native_layer_norm', 'aten::gelu')


def time_by_part(model: nn.Module, run: Callable[[], Any], *, rounds: int) -> dict[str, float]:
    """Milliseconds that each of ``PARTS`` takes in a forward pass, on a CPU.

    The profiler slows small operations a little: the parts are shares to be compared, the sum is
    not the time of a benchmark.

    Args:
        model: a backbone of ours or mmaction2's; attention is what its '.attn' modules do besides
            linear layers.
        run: one forward pass of it.
        rounds: forwards to average over, after one that is not counted.
    """
    run()
    with _named(model), profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(rounds):
            run()
    spent = dict.fromkeys(PARTS, 0.0)
    for event in profiler.events():
        spent[_part_of(event)] += event.self_cpu_time_total / 1e3 / rounds
    return spent


@contextmanager
def _named(model: nn.Module) -> Iterator[None]:
    """Name attention and pruning in the profile for as long as the block runs."""
    open_regions: list[record_function] = []

    def enter(*_: Any) -> None:
        open_regions.append(record_function(_ATTENTION).__enter__())

    def leave(*_: Any) -> None:
        open_regions.pop().__exit__(None, None, None)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name.endswith('.attn'):
                stack.callback(module.register_forward_pre_hook(enter).remove)
                stack.callback(module.register_forward_hook(leave).remove)
        if isinstance(model, PrunableBackbone):
            stack.callback(setattr, model, 'pruner', model.pruner)
            model.pruner = WatchedPruner(model.pruner, around=lambda: record_function(_PRUNING))
        yield


def _part_of(event: Any) -> str:
    regions = set()
    above = event
    while above is not None:
        regions.add(above.name)
        above = above.cpu_parent
    if _PRUNING in regions:
        return 'pruning'
    for part, names in (
        ('linear layers', _LINEAR),
        ('windows and filling', _MOVING),
        ('norms and GELU', _NORMS),
    ):
        if regions & set(names):
            return part
    return 'attention' if _ATTENTION in regions else 'rest'


SECONDS_BETWEEN_LOOKS = 0.1


class Usage(NamedTuple):
    """What a command took.

    Attributes:
        wall_s: seconds from its start to its end.
        peak_mb: most memory (10^6 bytes) of the command and its children together at one time, what
            they share counted once; 0 where the system does not say (it takes Linux' smaps_rollup).
        output: what it printed.
    """

    wall_s: float
    peak_mb: float
    output: str


def measure(command: Sequence[str]) -> Usage:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; with what it printed last.
    """
    start = time.perf_counter()
    peak = 0
    with tempfile.TemporaryFile('w+') as file:  # a pipe that nobody reads would fill up
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional_bytes, _family(process.pid))))
            time.sleep(SECONDS_BETWEEN_LOOKS)
        wall_s = time.perf_counter() - start
        file.seek(0)
        output = file.read()
    if process.returncode != 0:
        last = output.strip().splitlines()[-1:] or ['it printed nothing']
        raise RuntimeError(f'{" ".join(command)} failed with {process.returncode}: {last[0]}')
    return Usage(wall_s, peak / 1e6, output)


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        tasks = Path(f'/proc/{pid}/task').iterdir()
        children = [int(c) for task in tasks for c in (task / 'children').read_text().split()]
    except OSError:
        return []
    return [pid, *(other for child in children for other in _family(child))]


def _proportional_bytes(pid: int) -> int:
    """Own memory, and of shared memory this process's share."""
    try:
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith('Pss:')), 0)
