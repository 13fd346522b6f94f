"""The loop that evaluates every variant: batches and shards, what it gathers and measures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner

from sta.analysis import count_costs
from sta.datasets.video_list import BrokenVideo
from sta.engine import loop, scoring
from sta.engine.config import load_config
from sta.engine.loop import (
    WHOLE,
    LocalPart,
    Shard,
    VariantTestLoop,
    _gather,
    collate,
    parse_shard,
    plan_batches,
    timed,
)
from sta.engine.scoring import Scorer
from sta.engine.session import build_test_runner
from sta.errors import ConfigError, MemoryShortError
from sta.evaluation import EvaluationResult, Stored, StoredVideo
from sta.models import prunable
from tests.tools.tiny import Tiny


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


def test_variants_are_parsed_and_built_once_however_many_batches_there_are(
    config: Config, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.test_dataloader.dataset.max_videos = None
    config.test_dataloader.batch_size = 1
    runner = build_test_runner(config, str(tiny.checkpoint))
    backbone, built, parsed = runner.model.backbone, [], []
    build, parse = prunable.build_pruner, backbone.parse_schedule
    monkeypatch.setattr(
        prunable, 'build_pruner', lambda *settings: (built.append(settings[0]), build(*settings))[1]
    )
    monkeypatch.setattr(
        backbone, 'parse_schedule', lambda schedule: (parsed.append(schedule), parse(schedule))[1]
    )
    scored = []
    monkeypatch.setattr(
        Scorer, 'score', lambda *given, run=Scorer.score: (scored.append(given), run(*given))[1]
    )
    runner.test()
    variants = runner.test_loop.variants
    assert len(scored) == len(tiny.names)
    assert built == [variant.pruner for variant in variants if variant.pruner is not None]
    assert parsed == [*(variant.schedule for variant in variants), None]  # None: the whole cost


def test_a_second_run_finds_the_same(config: Config, tiny: Tiny) -> None:
    runner, first = run(config, tiny)
    second = runner.test()
    for one, other in zip(first.variants, second.variants, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize(
    'sampler',
    [
        dict(type='DefaultSampler', shuffle=True),
        dict(type='InfiniteSampler', shuffle=False),
        dict(type='DefaultSampler', shuffle=False, round_up=True),
    ],
)
def test_whatever_the_sampler_each_video_counts_once_in_the_order_of_the_list(
    config: Config, tiny: Tiny, sampler: dict
) -> None:
    config.test_dataloader.dataset.max_videos = None
    _, plain = run(config, tiny)
    config.test_dataloader.sampler = sampler
    _, other = run(config, tiny)
    assert [Path(name).name for name in other.names] == list(tiny.names)
    assert list(other.labels) == list(tiny.labels)
    np.testing.assert_array_equal(other.variants[1].scores, plain.variants[1].scores)


def test_speed_is_clips_over_seconds_of_the_model(
    config: Config, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look at the clock takes a second: one second per variant and batch."""
    config.test_cfg.schedules = [0, 2]
    seconds = iter(range(10_000))
    monkeypatch.setattr(scoring.time, 'perf_counter', lambda: float(next(seconds)))
    _, found = run(config, tiny)
    # 3 videos of 6 views, in batches of two videos and one
    assert [result.clips_per_s for result in found.variants] == [18 / 2] * 5


def test_waiting_is_the_time_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

    def slowly():
        for wait in (3.0, 0.5):
            Clock.now += wait
            yield wait

    monkeypatch.setattr(loop.time, 'perf_counter', lambda: Clock.now)
    found = []
    for batch, waited in timed(slowly()):
        found.append((batch, waited))
        Clock.now += 10.0  # the model works; nobody waits
    assert found == [(3.0, 3.0), (0.5, 0.5)]


def test_what_all_processes_found_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process had no video: it knows neither the size of views nor their number."""

    def video(name: str) -> StoredVideo:
        return StoredVideo(name, 0, np.zeros((2, 3), np.float32))

    shape = (3, 16, 32, 32)
    parts = [
        LocalPart({}, np.zeros(2)),
        LocalPart({0: video('a'), 2: video('c')}, np.array([1.0, 2.0]), 12, shape, 6),
        LocalPart({1: video('b'), 0: video('z')}, np.array([3.0, 4.0]), 18, shape, 6),
    ]

    def all_gather(everything: list, own: LocalPart) -> None:
        everything[:] = [own, *parts[1:]]

    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 3)
    monkeypatch.setattr(dist, 'all_gather_object', all_gather)
    found = _gather(parts[0])
    names = {place: video.name for place, video in found.videos.items()}
    assert names == {0: 'z', 1: 'b', 2: 'c'}
    assert found.model_s.tolist() == [4.0, 6.0] and found.clips == 30
    assert (found.clip_shape, found.views) == (shape, 6)


def test_nobody_stores_before_everybody_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two processes could share out different videos."""
    order = []
    nothing = Stored({}, 0, np.zeros(1), None, 0)
    store = SimpleNamespace(read=lambda: (order.append('read'), nothing)[1])
    loop = SimpleNamespace(store=store, variants=[None], retry_broken=False)
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'barrier', lambda: order.append('barrier'))
    assert VariantTestLoop._stored(loop) is nothing
    assert order == ['read', 'barrier']


def test_one_process_gathers_nothing() -> None:
    part = LocalPart({}, np.zeros(1), 3, None, 2)
    assert _gather(part) is part


def test_memory_that_is_short_halves_the_views_and_changes_no_score(
    config: Config, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    _, plain = run(config, tiny)
    runner = build_test_runner(config, str(tiny.checkpoint))
    sizes = []
    forward = runner.model.extract_feat

    def short(inputs: torch.Tensor, **settings: object) -> object:
        sizes.append(len(inputs))
        if len(inputs) > 5:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")
        return forward(inputs, **settings)

    monkeypatch.setattr(runner.model, 'extract_feat', short)
    found = runner.test()
    for one, other in zip(plain.variants, found.variants, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
        np.testing.assert_array_equal(one.scores.argmax(1), other.scores.argmax(1))
    assert max(sizes) == 12 and 4 in sizes
    assert sizes.count(12) == 1  # halved for good, not for each pass
    said = capsys.readouterr().err
    assert 'memory is short: going on with 4 views per forward pass' in said


@pytest.mark.parametrize(
    ('error', 'raised', 'said'),
    [
        (
            torch.cuda.OutOfMemoryError('CUDA out of memory'),
            MemoryShortError,
            'one view .*CUDA',
        ),
        (RuntimeError('shapes do not match'), RuntimeError, 'shapes do not match'),
    ],
)
def test_errors_of_the_forward_pass(
    config: Config,
    tiny: Tiny,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    raised: type[Exception],
    said: str,
) -> None:
    """Memory that does not suffice for one view is told; anything else is not taken for it."""
    runner = build_test_runner(config, str(tiny.checkpoint))

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Scorer, 'warm_up', lambda *_: None)
    monkeypatch.setattr(Scorer, 'count', lambda *_: [])
    monkeypatch.setattr(runner.model, 'extract_feat', fail)
    with pytest.raises(raised, match=said):
        runner.test()


@pytest.mark.parametrize(
    ('num_videos', 'batch_size', 'done', 'expected'),
    [
        (5, 2, (), [[0, 1], [2, 3], [4]]),
        (5, 2, (0, 1), [[2, 3], [4]]),
        (5, 2, (1, 4), [[0, 1], [2, 3]]),  # half a batch is a whole one: the same neighbours
        (4, 8, (), [[0, 1, 2, 3]]),
        (4, 2, (0, 1, 2, 3), []),
        (3, 1, (1,), [[0], [2]]),
    ],
)
def test_batches(num_videos: int, batch_size: int, done: tuple, expected: list) -> None:
    assert [list(batch) for batch in plan_batches(num_videos, batch_size, done)] == expected


def test_broken_videos_stand_beside_the_others() -> None:
    broken = [BrokenVideo(1, 'b.mp4', 0, 'it is empty'), BrokenVideo(3, 'd.mp4', 1, 'it is text')]
    sound = [dict(inputs=10, data_samples='a'), dict(inputs=12, data_samples='c')]
    batch = collate([sound[0], broken[0], sound[1], broken[1]])
    assert batch.data == dict(inputs=[10, 12], data_samples=['a', 'c'])
    assert batch.broken == broken


def test_nothing_but_broken_videos() -> None:
    broken = [BrokenVideo(0, 'a.mp4', 0, 'it is empty')]
    assert collate(broken) == (None, broken)


@pytest.mark.parametrize('count', [1, 2, 3, 5])
def test_shards_are_the_batches_of_the_whole_list(count: int) -> None:
    whole = plan_batches(19, 4, ())
    assert whole == [range(0, 4), range(4, 8), range(8, 12), range(12, 16), range(16, 19)]
    shards = [plan_batches(19, 4, (), Shard(i, count)) for i in range(1, count + 1)]
    assert sorted((batch for shard in shards for batch in shard), key=lambda b: b.start) == whole
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_what_is_done_does_not_change_who_does_what() -> None:
    assert plan_batches(19, 4, range(8), Shard(1, 2)) == [range(8, 12), range(16, 19)]
    assert plan_batches(19, 4, range(8), Shard(2, 2)) == [range(12, 16)]


def test_as_typed() -> None:
    assert parse_shard('2/4') == Shard(2, 4)
    assert str(Shard(2, 4)) == '2/4'
    assert parse_shard('1/1') == WHOLE


@pytest.mark.parametrize('text', ['0/4', '5/4', '1/0', '2', 'a/b', '1/2/3', '-1/2', ''])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ConfigError, match='NUMBER/COUNT such as 1/4'):
        parse_shard(text)


def test_no_shard_is_empty() -> None:
    Shard(1, 5).check(19, 4)
    with pytest.raises(ConfigError, match='6 shards are too many: 19 videos .* at most 5'):
        Shard(1, 6).check(19, 4)
