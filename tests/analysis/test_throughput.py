"""Timing, with a clock that the contestants themselves move."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sta.analysis import throughput
from sta.analysis.throughput import TimedPruner, Timing, pruning_share, time_interleaved
from tests.models.small_vit import clips, small_vit


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(throughput.time, 'perf_counter', lambda: self.seconds)

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
    def pruner(*_):
        clock.tick(0.5)
        return 'pruned'

    facts = dict(similarity='key', draws=False, merges=False, per_chunk=True)
    for name, value in facts.items():
        setattr(pruner, name, value)
    pruner.check = lambda stage: None
    return SimpleNamespace(pruner=pruner)


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


@pytest.mark.parametrize(
    'pruner',
    [{'type': 'STAPruner', 'first_frame': 'random'}, {'type': 'ToMeMergePruner'}],
    ids=['sta', 'merge'],
)
def test_a_timed_pruner_prunes_alike(pruner) -> None:
    model, clip = small_vit(schedule=4, pruner=pruner), clips(2)
    with torch.no_grad():
        feature, kept = model(clip, return_kept=True)
        timed = model.pruner = TimedPruner(model.pruner, is_cuda=False)
        again, kept_again = model(clip, return_kept=True)
    assert torch.equal(feature, again)
    assert all(torch.equal(a, b) for a, b in zip(kept, kept_again))
    assert timed.seconds > 0


def test_a_share_of_a_real_model_is_a_share() -> None:
    model, clip = small_vit(schedule=4), clips(1)
    with torch.no_grad():
        share = pruning_share(model, lambda: model(clip), rounds=2, is_cuda=False)
        assert 0 < share < 1
        model.set_schedule(0)
        assert pruning_share(model, lambda: model(clip), rounds=1, is_cuda=False) == 0
