"""Clocks, interleaved rounds, peaks, and where the time of a forward goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sta.analysis import speed as clocks
from sta.analysis.speed import (
    PARTS,
    ProcessClock,
    Timing,
    pruning_share,
    time_by_part,
    time_interleaved,
)
from sta.pruning import Pruned, Pruner, StageContext, Variant, WatchedPruner
from tests.models.small_swin import DROPS, small_swin
from tests.models.small_vit import clips, small_vit


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(clocks.time, 'perf_counter', lambda: self.seconds)

    def tick(self, seconds: float) -> None:
        self.seconds += seconds


def test_contestants_take_turns_after_their_warm_up(monkeypatch) -> None:
    clock, calls = Clock(monkeypatch), []

    def run(name: str, seconds: list[float]):
        def forward() -> None:
            calls.append(name)
            clock.tick(seconds.pop(0))

        return forward

    a, b = time_interleaved(
        {'a': run('a', [99.0, 99.0, 1.0, 4.0, 2.0]), 'b': run('b', [99.0, 99.0, 8.0, 8.0, 10.0])},
        batch_size=4,
        rounds=3,
        warm_up=2,
        is_cuda=False,
    )
    assert calls == list('aabbababab')
    assert (a.name, b.name) == ('a', 'b')
    np.testing.assert_allclose(a.seconds, [1, 4, 2])
    np.testing.assert_allclose(b.seconds, [8, 8, 10])
    assert (a.median_s, b.median_s) == (2.0, 8.0)
    assert (a.clips_per_s, b.clips_per_s) == (2.0, 0.5)
    assert a.pruning_share is None


def test_median_and_quartiles_by_hand() -> None:
    timing = Timing('x', 2, np.array([5.0, 1.0, 2.0, 4.0, 3.0]))
    assert timing.median_s == 3.0 and timing.quartiles_s == (2.0, 4.0)
    assert timing.clips_per_s == pytest.approx(2 / 3)


def fake_backbone(clock: Clock) -> SimpleNamespace:
    class Working(Pruner, name=None):
        def __call__(self, *_):
            clock.tick(0.5)
            return 'pruned'

    return SimpleNamespace(pruner=Working())


def test_the_share_of_pruning(monkeypatch) -> None:
    """Three stages of half a second in forwards of ten seconds."""
    clock = Clock(monkeypatch)
    backbone = fake_backbone(clock)
    original = backbone.pruner

    def forward() -> None:
        clock.tick(8.5)
        for _ in range(3):
            assert backbone.pruner(None, None, None, None) == 'pruned'

    share = pruning_share(backbone, forward, rounds=4, is_cuda=False)
    assert share == pytest.approx(0.15)
    assert backbone.pruner is original


def test_the_pruner_comes_back_after_a_failure(monkeypatch) -> None:
    backbone = fake_backbone(Clock(monkeypatch))
    original = backbone.pruner

    def forward() -> None:
        raise RuntimeError('out of memory')

    with pytest.raises(RuntimeError, match='out of memory'):
        pruning_share(backbone, forward, rounds=2, is_cuda=False)
    assert backbone.pruner is original


class Watch:
    """What a watched pruner does, in order; of its stages the numbers."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    @contextmanager
    def around(self) -> Iterator[None]:
        self.seen.append('begin')
        yield
        self.seen.append('end')

    def after(self, pruned: Pruned, context: StageContext) -> None:
        assert pruned.tokens.shape[:2] == pruned.kept.shape
        self.seen.append(context.stage_index)


@pytest.mark.parametrize(
    'pruner',
    [{'type': 'STAPruner', 'first_frame': 'random'}, {'type': 'ToMeMergePruner'}],
    ids=['sta', 'merge'],
)
def test_a_watched_pruner_prunes_alike(pruner) -> None:
    model, clip = small_vit(schedule=4, pruner=pruner), clips(2)
    with torch.no_grad():
        feature, kept = model(clip, return_kept=True)
        watch = Watch()
        model.pruner = WatchedPruner(model.pruner, around=watch.around, after=watch.after)
        again, kept_again = model(clip, return_kept=True)
    assert torch.equal(feature, again)
    assert all(torch.equal(a, b) for a, b in zip(kept, kept_again))
    assert watch.seen == ['begin', 'end', 0, 'begin', 'end', 1, 'begin', 'end', 2]


def test_a_share_of_a_real_model_is_a_share() -> None:
    model, clip = small_vit(schedule=4), clips(1)
    with torch.no_grad():
        share = pruning_share(model, lambda: model(clip), rounds=2, is_cuda=False)
        assert 0 < share < 1
        model.set_schedule(0)
        assert pruning_share(model, lambda: model(clip), rounds=1, is_cuda=False) == 0


def test_choosing_at_the_input_counts_as_pruning() -> None:
    model, clip = small_vit(), clips(2)
    model.set_variant(Variant('rlt', {'type': 'RunLengthPruner', 'threshold': 1.1}, None))
    with torch.no_grad():
        feature, kept = model(clip, return_kept=True)
        own, watch = model.pruner, Watch()
        model.pruner = WatchedPruner(own, around=watch.around, after=watch.after)
        again, kept_again = model(clip, return_kept=True)
        assert watch.seen == ['begin', 'end']
        model.pruner = own
        assert torch.equal(feature, again) and torch.equal(kept[0], kept_again[0])
        assert kept[0].shape[1] < model.num_tokens(tuple(clip.shape[1:]))
        assert 0 < pruning_share(model, lambda: model(clip), rounds=2, is_cuda=False) < 1


class FakeGPU:
    """A stream that works off what it is given only when somebody waits for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue: list[float] = []
        self.waits = 0
        gpu = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                self.behind = len(gpu.queue)

            def elapsed_time(self, end: Event) -> float:
                assert gpu.waits, 'read before the GPU was there'
                return 1e3 * sum(gpu.queue[self.behind : end.behind])

        monkeypatch.setattr(torch.cuda, 'Event', Event)
        monkeypatch.setattr(torch.cuda, 'synchronize', self.wait)

    def wait(self) -> None:
        self.waits += 1


def test_on_a_gpu_nothing_waits_between_forwards(monkeypatch) -> None:
    gpu, waits = FakeGPU(monkeypatch), []

    def run(seconds: list[float]):
        def forward() -> None:
            waits.append(gpu.waits)
            gpu.queue.append(seconds.pop(0))

        return forward

    a, b = time_interleaved(
        {'a': run([50.0, 1.0, 3.0]), 'b': run([50.0, 4.0, 8.0])},
        batch_size=2,
        rounds=2,
        warm_up=1,
        is_cuda=True,
    )
    np.testing.assert_allclose(a.seconds, [1, 3])
    np.testing.assert_allclose(b.seconds, [4, 8])
    assert waits == [0] * 6


def test_the_share_of_pruning_on_a_gpu(monkeypatch) -> None:
    """Two stages of half a second in forwards of ten, between events in the queue."""
    gpu = FakeGPU(monkeypatch)
    backbone = fake_backbone(Clock(monkeypatch))
    work = backbone.pruner

    class Working(Pruner, name=None):
        def __call__(self, *arguments):
            assert gpu.waits == 0
            gpu.queue.append(0.5)
            return work(*arguments)

    backbone.pruner = Working()

    def forward() -> None:
        gpu.queue.append(9.0)
        for _ in range(2):
            backbone.pruner(None, None, None, None)

    assert pruning_share(backbone, forward, rounds=3, is_cuda=True) == pytest.approx(0.1)


@pytest.mark.gpu
def test_the_clock_of_a_gpu_runs_as_fast_as_this_one() -> None:
    """A second's worth of products, by events and by waiting for them."""
    matrix = torch.randn(4096, 4096, device='cuda')

    def run() -> None:
        for _ in range(50):
            matrix @ matrix

    [timing] = time_interleaved({'run': run}, batch_size=1, rounds=20, warm_up=2, is_cuda=True)
    torch.cuda.synchronize()
    wall = ProcessClock()
    start = wall.mark()
    for _ in range(20):
        run()
    torch.cuda.synchronize()
    [seconds] = wall.seconds([(start, wall.mark())])
    assert timing.seconds.sum() == pytest.approx(seconds, rel=0.1)


def parts_of(model, clip) -> dict[str, float]:
    with torch.no_grad():
        return time_by_part(model, lambda: model(clip), rounds=2)


def test_a_pruned_videoswin_spends_time_on_everything() -> None:
    model, clip = small_swin(schedule=DROPS), clips(1, frames=8, size=64)
    pruner = model.pruner
    spent = parts_of(model, clip)
    assert tuple(spent) == PARTS and all(ms > 0 for ms in spent.values())
    assert model.pruner is pruner
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    'model, clip',
    [(small_vit(), clips(1)), (small_swin(), clips(1, frames=8, size=64))],
    ids=['vit', 'swin'],
)
def test_without_pruning_no_time_goes_there(model, clip) -> None:
    for contestant in (model, model.host()):
        spent = parts_of(contestant, clip)
        assert spent['pruning'] == 0
        assert min(spent[part] for part in ('linear layers', 'attention', 'norms and GELU')) > 0


def test_products_of_matrices_are_told_from_attention() -> None:
    """One wide linear layer behind nothing: all but a little of the time."""

    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1024, 4096)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    spent = parts_of(Wide(), torch.ones(512, 1024))
    assert spent['linear layers'] > 0.8 * sum(spent.values()) and spent['attention'] == 0
