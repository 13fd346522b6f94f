"""What the rows of a picture are made of: whose numbers, which colours, which pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sta.analysis.gradients import grad_norm
from sta.analysis.places import TokenGrid
from sta.errors import ConfigError, VariantError
from sta.pruning import Variant
from sta.visualization import View, check_stage, check_variant, explain, record
from sta.visualization.maps import NOTHING, Limits, coloured, over_pixels, value_row
from tests.analysis.recognizers import Recognizer
from tests.models.small_swin import small_swin
from tests.models.small_vit import clips, small_vit

NAMES = tuple('abcde')
STA = Variant('sta-4', {'type': 'STAPruner'}, 4)


def view_of(clip: torch.Tensor, note: str = '') -> View:
    shape = (*clip.shape[2:], 3)
    frames = np.random.default_rng(0).integers(0, 200, shape, dtype=np.uint8)
    return View('folder/a.mp4', frames, clip, note)


@pytest.fixture
def vit() -> Recognizer:
    return Recognizer(small_vit(), 24)


def test_values_become_colours_of_their_pixels() -> None:
    grid = TokenGrid((1, 1, 3), (2, 4, 4))
    values = np.array([[[0.0, 4.0, np.nan]]])
    plain = value_row('x', (), values, grid, (2, 4, 12))
    assert plain.limits == (0, 4)
    assert plain.panels[1, 3, ::4].tolist() == [[68, 1, 84], [253, 231, 37], list(NOTHING)]
    values[0, 0, 2] = 1.0
    root = value_row('x', (), values, grid, (2, 4, 12), root=True)
    half = coloured(np.array([0.5]), Limits(0, 1))[0]
    assert root.limits == (0, 4) and (root.panels[0, 0, 8:] == half).all()
    wide = value_row('x', (), values, grid, (2, 4, 12), (0, 2))
    assert (wide.panels[0, 0, 8:] == half).all() and wide.limits == (0, 2)


@pytest.mark.parametrize('stage', [1, 2, 3])
def test_rows_of_a_vit(vit: Recognizer, stage: int) -> None:
    """Every map is that of the asked-for stage, over the pixels of its tokens."""
    clip = clips(1)
    shown = explain(vit, view_of(clip), STA, stage=stage, names=NAMES)
    titles = [row.title for row in shown.rows]
    assert titles == ['input', *(f'after stage {i}' for i in (1, 2, 3))] + [
        'importance F',
        'redundancy A',
        'score A (1 - F)',
        'GradNorm',
    ]
    assert shown.last == 3 and shown.tubelet == 2
    with vit.backbone.using(STA):
        maps = record(vit, clip).stages[stage - 1]
    for row, values, limits in (
        (shown.rows[4], maps.importance, (0, 1)),
        (shown.rows[5], maps.redundancy, None),
        (shown.rows[6], maps.ranked, None),
    ):
        limits = limits or (np.nanmin(values), np.nanmax(values))
        assert row.limits == pytest.approx(limits)
        assert f'in stage {stage}' in row.notes
        pixels = over_pixels(values, (2, 8, 8), (16, 32, 32))
        assert (row.panels == coloured(pixels, Limits(*limits))).all()
        grey = (row.panels == NOTHING).all(-1)
        assert (grey == np.isnan(pixels)).all()


def test_gradients_are_those_without_pruning(vit: Recognizer) -> None:
    clip = clips(1)
    unpruned = grad_norm(vit, clip)
    guess = int(unpruned.labels)
    shown = explain(vit, view_of(clip), STA, stage=1, names=NAMES)
    row = shown.rows[-1]
    assert row.limits == pytest.approx((unpruned.map.min().item(), unpruned.map.max().item()))
    assert 'Eq. 7, predicted class' in row.notes and 'nothing dropped' in row.notes
    given = explain(vit, view_of(clip), STA, stage=1, names=NAMES, label=(guess + 1) % 5).rows[-1]
    assert 'Eq. 7, given class' in given.notes and given.limits != row.limits
    with torch.no_grad(), vit.backbone.using(STA):
        pruned = vit.cls_head(vit.backbone(clip))[0].softmax(-1)
    percent = 100 * float(unpruned.logits[0].softmax(-1).max())
    said = f'unpruned: {NAMES[guess]} {percent:.1f} %; '
    said += f'sta-4: {NAMES[int(pruned.argmax())]} {100 * float(pruned.max()):.1f} %'
    assert shown.title == ('a.mp4', said)


def test_pixels_without_a_token_are_cut_off(vit: Recognizer) -> None:
    clip = clips(1, size=48)[..., :37, :47]
    shown = explain(vit, view_of(clip, 'clip 2 of 3'), STA, stage=1, names=NAMES)
    assert {row.panels.shape for row in shown.rows} == {(16, 32, 40, 3)}
    assert shown.title[0] == 'a.mp4, clip 2 of 3'


def test_rows_of_a_swin() -> None:
    model = Recognizer(small_swin(), 96)
    clip = clips(1, frames=8, size=64)[..., :60, :]
    variant = Variant('sta', {'type': 'STAPruner', 'score': 'temporal'}, [24, 0, 1])
    stage = check_stage(check_variant(model.backbone, variant), None)
    shown = explain(model, view_of(clip), variant, stage=stage, names=NAMES)
    assert stage == 1 and [row.title for row in shown.rows][4:7] == [
        'importance F',
        'redundancy A',
        'score A',
    ]
    assert [row.notes[0] for row in shown.rows[1:4]] == [
        '160 of 256 tokens',
        '64 of 64 tokens',
        '12 of 16 tokens',
    ]
    assert {row.panels.shape for row in shown.rows} == {(8, 60, 64, 3)}
    assert (shown.rows[5].panels == shown.rows[6].panels).all()


def test_what_cannot_be_shown(vit: Recognizer) -> None:
    schedule = check_variant(vit.backbone, Variant('sta', None, [0, 2, 0]))
    assert check_stage(schedule, None) == check_stage(schedule, 2) == 2
    assert check_stage(check_variant(vit.backbone, Variant('unpruned')), None) == 0
    with pytest.raises(VariantError, match=r'that drops tokens, \[2\], got 3'):
        check_stage(schedule, 3)
    with pytest.raises(VariantError, match='tome-4 merges tokens and drops none'):
        check_variant(vit.backbone, Variant('tome-4', {'type': 'ToMeMergePruner'}, 4))
    with pytest.raises(ConfigError, match='does not suit the model: expected clips of shape'):
        explain(vit, view_of(clips(1, frames=8)), STA, stage=1, names=NAMES)
