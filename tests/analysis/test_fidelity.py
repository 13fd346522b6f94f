"""Which tubelets are kept, counted one by one; features that are the head's input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sta.analysis.fidelity import observe
from sta.models import STASwinTransformer3D
from sta.models.head import LinearHead
from sta.pruning import Variant
from tests.analysis.counted import Model
from tests.models.small_swin import SMALL as SMALL_SWIN
from tests.models.small_vit import PRUNERS, clips, randomise, small_vit
from tests.pruning.test_run_length import half_still, slow_changes

STA = {'type': 'STAPruner'}
RLT = {'type': 'RunLengthPruner', 'threshold': 0.3}


def vit() -> torch.nn.Module:
    model = Model(small_vit(), 7)
    randomise(model.cls_head)
    return model


def kept_by_hand(left: list[int], changes: list[list[float]], still: float) -> list[float]:
    counts = {True: [0, 0], False: [0, 0]}
    places = len(changes[0])
    for t, row in enumerate(changes, start=1):
        for n, change in enumerate(row):
            counts[change >= still][0] += t * places + n in left
            counts[change >= still][1] += 1
    return [
        counts[kind][0] / counts[kind][1] if counts[kind][1] else np.nan for kind in (True, False)
    ]


@pytest.mark.parametrize('pruner, schedule', [(STA, 4), (STA, [3, 0, 5]), (RLT, None), (None, 0)])
def test_shares_of_a_vit_are_those_of_a_count_by_hand(pruner, schedule) -> None:
    model, x = vit(), torch.cat([half_still(2), clips(1, seed=4)])
    variant = Variant('v', pruner, schedule)
    (found,) = observe(model, x, [variant], still=0.3)
    with torch.no_grad(), model.backbone.using(variant):
        feature, kept = model.backbone(x, return_kept=True)
        logits = model.cls_head(feature)
    for i, changes in enumerate(slow_changes(x)):
        left = list(range(128))
        if pruner is RLT:
            left = [place for place in kept[0][i].tolist() if place >= 0]
        else:
            for stage in kept:
                left = [left[place] for place in stage[i].tolist()]
        expected = kept_by_hand(left, changes, 0.3) if schedule or pruner else [1.0, 1.0]
        np.testing.assert_allclose(found.kept[i], expected, rtol=1e-12)
    np.testing.assert_array_equal(found.features, feature.numpy())
    np.testing.assert_allclose(found.log_probabilities, logits.log_softmax(-1).numpy())


def test_shares_of_a_videoswin_are_of_its_last_pruned_grid() -> None:
    model = torch.nn.Module()
    model.backbone = randomise(STASwinTransformer3D(**SMALL_SWIN))
    backbone = model.backbone
    width = backbone.embed_dims * 2 ** (backbone.num_layers - 1)
    model.cls_head = randomise(LinearHead(num_classes=7, in_channels=width))
    shape = (3, backbone.num_frames, backbone.img_size, backbone.img_size)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    x[..., : shape[3] // 2] = x[:, :, :1, :, : shape[3] // 2]
    drops = backbone.drop_ladder(shape)[-1]
    variant = Variant('v', STA, drops)
    (found,) = observe(model, x, [variant], still=0.2)
    with torch.no_grad(), backbone.using(variant):
        feature, kept = backbone(x, return_kept=True)
        last = max(i for i, stage in enumerate(backbone.schedule.stages) if stage.num_drop)
    frames, rows, columns = backbone.token_grid(shape)
    grid = (frames, -(-rows // 2 ** (last + 1)), -(-columns // 2 ** (last + 1)))
    for i, changes in enumerate(slow_changes(x, grid)):
        expected = kept_by_hand(kept[last][i].tolist(), changes, 0.2)
        np.testing.assert_allclose(found.kept[i], expected, rtol=1e-12)
    np.testing.assert_allclose(found.features, feature.flatten(2).mean(-1).numpy(), rtol=1e-6)


@pytest.mark.parametrize('name', PRUNERS)
def test_every_pruner_can_be_observed_and_leaves_the_backbone_alone(name) -> None:
    model, x = vit(), clips(2)
    before = model.backbone.schedule, model.backbone.pruner
    schedule = 4
    (found,) = observe(model, x, [Variant('v', PRUNERS[name], schedule)], still=0.1)
    assert np.isfinite(found.features).all()
    # Everything moves in these clips.
    assert 0 < found.kept[0, 0] < 1 and np.isnan(found.kept[0, 1])
    assert (model.backbone.schedule, model.backbone.pruner) == before
