"""The loop that evaluates every variant: what it leaves alone, averages, gathers and measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner

from sta.analysis import count_costs
from sta.engine import variant_loop
from sta.engine.config import load_config
from sta.engine.session import build_test_runner
from sta.engine.variant_loop import LocalPart, VideoScores, _gather, _timed
from sta.evaluation import Cost, EvaluationResult
from tests.tools.tiny import NUM_VIDEOS, Tiny


@pytest.fixture
def config(tiny: Tiny, tmp_path: Path) -> Config:
    config = load_config(str(tiny.six_views), ['test_dataloader.dataset.max_videos=3'])
    config.work_dir = str(tmp_path)
    return config


def run(config: Config, tiny: Tiny) -> tuple[Runner, EvaluationResult]:
    runner = build_test_runner(config, str(tiny.checkpoint))
    return runner, runner.test()


def test_costs_are_those_of_the_model(config: Config, tiny: Tiny) -> None:
    runner, found = run(config, tiny)
    variants = runner.test_loop.variants
    assert [result.variant for result in found.variants] == variants
    expected = count_costs(runner.model, variants, (3, 16, 32, 32))
    assert [result.cost for result in found.variants] == expected
    assert found.views == 6


def test_the_model_is_left_as_it_was(config: Config, tiny: Tiny) -> None:
    config.model.backbone.schedule = 3
    runner = build_test_runner(config, str(tiny.checkpoint))
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    schedule, pruner = runner.model.backbone.schedule, runner.model.backbone.pruner
    runner.test()
    assert runner.model.backbone.schedule is schedule
    assert runner.model.backbone.pruner is pruner
    assert all(torch.equal(value, before[n]) for n, value in runner.model.state_dict().items())


def test_a_second_run_finds_the_same(config: Config, tiny: Tiny) -> None:
    runner, first = run(config, tiny)
    second = runner.test()
    for one, other in zip(first.variants, second.variants, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)


def test_videos_stand_in_the_order_of_the_list_even_when_shuffled(
    config: Config, tiny: Tiny
) -> None:
    config.test_dataloader.dataset.max_videos = None
    _, plain = run(config, tiny)
    config.test_dataloader.sampler.shuffle = True
    _, shuffled = run(config, tiny)
    assert [Path(name).name for name in shuffled.names] == list(tiny.names)
    assert list(shuffled.labels) == list(tiny.labels)
    np.testing.assert_allclose(shuffled.variants[1].scores, plain.variants[1].scores, atol=1e-5)


def test_a_sampler_that_repeats_videos_counts_them_once(config: Config, tiny: Tiny) -> None:
    config.test_dataloader.dataset.max_videos = None
    config.test_dataloader.sampler = dict(type='InfiniteSampler', shuffle=False)
    runner = build_test_runner(config, str(tiny.checkpoint))
    loader = runner.test_loop.dataloader
    twice = [*range(NUM_VIDEOS), *range(NUM_VIDEOS)]

    class Repeating(list):
        sampler = twice

    runner.test_loop.dataloader = Repeating(loader.collate_fn([loader.dataset[i]]) for i in twice)
    assert [Path(name).name for name in runner.test().names] == list(tiny.names)


def test_speed_is_clips_over_seconds_of_the_model(
    config: Config, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look at the clock takes a second: one second per variant and batch."""
    config.test_cfg.schedules = [0, 2]
    seconds = iter(range(10_000))
    monkeypatch.setattr(variant_loop.time, 'perf_counter', lambda: float(next(seconds)))
    _, found = run(config, tiny)
    # 3 videos of 6 views, in batches of two videos and one
    assert [result.clips_per_s for result in found.variants] == [18 / 2] * 5


def test_waiting_is_the_time_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

    def batches():
        for wait in (3.0, 0.5):
            Clock.now += wait
            yield wait

    monkeypatch.setattr(variant_loop.time, 'perf_counter', lambda: Clock.now)
    found = []
    for batch, waited in _timed(batches()):
        found.append((batch, waited))
        Clock.now += 10.0  # the model works; nobody waits
    assert found == [(3.0, 3.0), (0.5, 0.5)]


def test_what_all_processes_found_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process had no video, so that it knows neither costs nor views."""

    def video(name: str) -> VideoScores:
        return VideoScores(name, 0, np.zeros((1, 2)))

    cost = Cost(num_tokens=8, tokens_after_stages=(), gflops_per_view=1.0, num_parameters=1)
    parts = [
        ({}, LocalPart(np.zeros(2), 0, None, 0)),
        ({0: video('a'), 2: video('c')}, LocalPart(np.array([1.0, 2.0]), 12, [cost], 6)),
        ({1: video('b'), 0: video('a')}, LocalPart(np.array([3.0, 4.0]), 18, [cost], 6)),
    ]

    def all_gather(everything: list, own: tuple) -> None:
        everything[:] = [own, *parts[1:]]

    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 3)
    monkeypatch.setattr(dist, 'all_gather_object', all_gather)
    finished, found = _gather(*parts[0])
    assert {index: video.name for index, video in finished.items()} == {0: 'a', 1: 'b', 2: 'c'}
    assert found.model_s.tolist() == [4.0, 6.0] and found.clips == 30
    assert (found.costs, found.views) == ([cost], 6)


def test_one_process_gathers_nothing() -> None:
    finished, part = {}, LocalPart(np.zeros(1), 3, None, 2)
    assert _gather(finished, part) == (finished, part)
