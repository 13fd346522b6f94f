"""What a benchmark times: backbones on shared weights, eager, compiled, and the host's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sta.analysis.speed import peak_mb
from sta.engine.benchmarking import (
    compiled,
    compiling,
    host_of,
    time_forwards,
    twins_of,
    with_backward,
)
from sta.errors import ConfigError
from sta.pruning import Variant
from tests.models.small_swin import small_swin
from tests.models.small_vit import clips, small_vit

VARIANTS = [Variant('unpruned', None, None), Variant('random-4', {'type': 'RandomPruner'}, 4)]


def test_twins_share_weights_but_not_variants() -> None:
    backbone = small_vit(schedule=2)
    twins = twins_of(backbone, VARIANTS)
    assert not twins['unpruned'].schedule.active and backbone.schedule.stages[0].num_drop == 2
    assert type(twins['random-4'].pruner).__name__ == 'RandomPruner'
    with torch.no_grad():
        for variant in VARIANTS:
            with backbone.using(variant):
                expected = backbone(clips(2))
            assert_close(twins[variant.name](clips(2)), expected, rtol=0, atol=0)
        backbone.fc_norm.bias += 1
        assert_close(twins['random-4'](clips(2)), expected + 1)


def test_contestants_take_turns_on_the_same_clips() -> None:
    seen: list[tuple[str, int]] = []
    contestants = {n: (lambda x, n=n: seen.append((n, x.data_ptr()))) for n in 'ab'}
    batch = torch.zeros(3, 3, 2, 4, 4)
    timings, peaks = time_forwards(contestants, batch, rounds=2, warm_up=1)
    # One warm-up each, two rounds in turn, one look at the memory each.
    assert [name for name, _ in seen] == ['a', 'b', *'abab', 'a', 'b']
    assert {pointer for _, pointer in seen} == {batch.data_ptr()}
    assert [t.batch_size for t in timings] == [3, 3] and set(peaks) == {'a', 'b'}


def test_peak_memory_is_that_of_the_largest_moment() -> None:
    def take(megabytes: int) -> None:
        torch.ones(megabytes * 250_000).sum()  # MB of 10^6 bytes, freed at once

    small, large = (
        peak_mb(lambda: take(20), is_cuda=False),
        peak_mb(lambda: take(200), is_cuda=False),
    )
    if small is None:
        pytest.skip('this system does not say')
    assert 15 < small < 60 and 190 < large < 240


def test_shapes_that_depend_on_the_clip_are_not_compiled() -> None:
    twins = twins_of(small_vit(), [Variant('rlt-0.1', {'type': 'RunLengthPruner'}, None)])
    with pytest.raises(ConfigError, match='--compile: rlt-0.1 lets the clip say'):
        compiled(twins, 'default')


def test_a_compiler_that_fails_is_one_line_and_other_errors_stay() -> None:
    def breaks(x: torch.Tensor) -> torch.Tensor:
        print('graph break')
        return x * np.random.default_rng().random()

    torch._dynamo.reset()
    with pytest.raises(ConfigError, match='--compile: torch.compile fails here: '), compiling(2):
        torch.compile(breaks, fullgraph=True, backend='eager')(torch.ones(1))
    with pytest.raises(ZeroDivisionError), compiling(2):
        _ = 1 / 0


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mmaction2s_own_backbones_run_in_half_precision(dtype: torch.dtype) -> None:
    """Its VideoSwin ends in an error there when it is run as it stands."""
    for ours, given in ((small_vit(), clips(1)), (small_swin(), clips(1, frames=8, size=64))):
        with torch.no_grad():
            whole = ours(given)
            half = host_of(ours.to(dtype))(given.to(dtype))
        assert torch.nn.functional.cosine_similarity(half.float(), whole, dim=1).min() > 0.99


def test_a_backward_pass_reaches_every_weight_and_leaves_nothing() -> None:
    model, seen = small_vit(schedule=4), []
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda p, n=name: seen.append((n, p.grad.abs().max().item()))
        )
    with torch.no_grad():  # as the tool runs
        with_backward(model)(clips(2))
    assert {name for name, _ in seen} == {name for name, _ in model.named_parameters()}
    assert min(largest for _, largest in seen) > 0
    assert all(parameter.grad is None for parameter in model.parameters())
