"""A pruned host gives the logits of our registered backbone with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sta
from tests.hosts.pairs import PAIRS, Pair, is_swin, schedules
from tests.models import small_swin
from tests.models.small_vit import clips

pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')
PRUNERS = {
    'sta': {'type': 'STAPruner'},
    'queries': {'type': 'STAPruner', 'similarity': 'query'},
    'values': {'type': 'STAPruner', 'similarity': 'value'},
    'feed-forward': {'type': 'STAPruner', 'similarity': 'ffn'},
    'grid': {'type': 'STAPruner', 'first_frame': 'grid'},
    'random': {'type': 'RandomPruner', 'seed': 2},
    'tube': {'type': 'TubeRandomPruner', 'seed': 1},
    'drop': {'type': 'ToMeDropPruner'},
}


def compare(pair: Pair, schedule, pruner=None, given=None) -> None:
    expected, kept = pair.pruned_by_ours(schedule, pruner, given)
    unpruned = pair.run(given) if not pair.settings else None
    with sta.pruned(pair.host, schedule=schedule, pruner=pruner, **pair.settings) as run:
        found = pair.run(given)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert len(run.kept) == len(kept)
    for ours, theirs in zip(kept, run.kept):
        assert torch.equal(ours, theirs)
    if unpruned is not None:
        assert (found - unpruned).abs().max() > 1e-3  # pruning made a difference


@pytest.mark.parametrize('number', range(3))
@pytest.mark.parametrize('name', PAIRS)
def test_schedules(name, number) -> None:
    compare(PAIRS[name](), schedules(name)[number])


@pytest.mark.parametrize('pruner', PRUNERS)
def test_pruners(pair, pruner) -> None:
    if pruner == 'grid':
        schedule = [16, 4, 1] if is_swin(pair) else 4
    else:
        schedule = pair.schedule
    if pruner == 'drop' and is_swin(pair):
        pytest.skip('drops more from some frames than from others')
    compare(pair, schedule, PRUNERS[pruner])


def test_one_clip_and_three(pair) -> None:
    """One clip's logits do not depend on the batch, and are those of ours."""
    size = {'frames': pair.given.shape[2], 'size': pair.given.shape[3]}
    three = clips(3, seed=5, **size)
    compare(pair, pair.schedule, PRUNERS['random'], three)
    compare(pair, pair.schedule, PRUNERS['random'], three[1:2])


@pytest.mark.parametrize('name', ['mmaction2 ViT', 'mmaction2 Swin'])
def test_other_resolutions(name) -> None:
    pair = PAIRS[name]()
    frames = pair.given.shape[2]
    for size in (48, 56) if 'ViT' in name else (80, 56):
        compare(pair, pair.schedule, given=clips(2, frames=frames, size=size))


def test_nothing_dropped_is_the_host(pair) -> None:
    if pair.settings:
        pytest.skip('tokens of all frames attend to each other as soon as timm is applied')
    before = pair.run()
    for schedule in (None, 0):
        with sta.pruned(pair.host, schedule=schedule):
            assert torch.equal(pair.run(), before)


def test_timm_joins_the_frames_of_a_clip() -> None:
    """Without pruning: our backbone on all tokens; not the mean over frames."""
    pair = PAIRS['timm']()
    expected, _ = pair.pruned_by_ours(None)
    frame_by_frame = pair.run().unflatten(0, (2, 8)).mean(1)
    with sta.pruned(pair.host, schedule=None, num_frames=8):
        found = pair.run()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - frame_by_frame).abs().max() > 1e-2


@pytest.mark.parametrize('name', ['mmaction2 ViT', 'mmaction2 Swin'])
def test_a_bare_backbone(name) -> None:
    pair = PAIRS[name]()
    _, kept = pair.pruned_by_ours(pair.schedule)
    with torch.no_grad():
        expected = pair.backbone(pair.given)
        sta.apply(pair.host.backbone, schedule=pair.schedule)
        found = pair.host.backbone(pair.given)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.equal(sta.kept(pair.host.backbone)[-1], kept[-1])
    assert sta.kept(pair.host) is sta.kept(pair.host.backbone)


def test_a_recognizer_predicts() -> None:
    """Through mmaction2's own test step, with two views of each video."""
    from mmaction.structures import ActionDataSample

    pair = PAIRS['mmaction2 Swin']()
    sta.apply(pair.host, schedule=small_swin.DROPS)
    views = torch.stack([pair.given, pair.given.flip(-1)], dim=1)
    samples = pair.host(views, [ActionDataSample(), ActionDataSample()], mode='predict')
    for video, sample in zip(views, samples):
        logits, _ = pair.pruned_by_ours(small_swin.DROPS, given=video)
        expected = logits.softmax(-1).mean(0)
        torch.testing.assert_close(sample.pred_score, expected, atol=1e-5, rtol=0)


def test_gradients_are_those_of_ours(pair) -> None:
    """Of pixels and of the weights of the embedding."""
    pair.backbone.set_schedule(pair.schedule)
    ours, theirs = (pair.given.clone().requires_grad_() for _ in range(2))
    pair.head(pair.backbone(ours)).square().sum().backward()
    sta.apply(pair.host, schedule=pair.schedule, **pair.settings)
    pair.logits(pair.host, theirs).square().sum().backward()
    embeddings = [embedding(model).weight.grad for model in (pair.backbone, pair.host)]
    for expected, found in [(ours.grad, theirs.grad), embeddings]:
        scale = expected.abs().max()
        assert scale > 0
        difference = (found.flatten() - expected.flatten()).abs().max()
        assert difference < 1e-4 * scale


def embedding(model: nn.Module) -> nn.Module:
    return next(m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Conv3d))


def test_bfloat16(pair) -> None:
    """Runs, and stays near float32."""
    sta.apply(pair.host, schedule=pair.schedule, **pair.settings)
    exact = pair.run()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = pair.run()
    assert (found.float() - exact).abs().max() < 0.2 * exact.abs().max()
