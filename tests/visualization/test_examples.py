"""Example clips show what the model kept, and what the evaluation predicted."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from sta.pruning import Variant
from sta.visualization import View, record
from sta.visualization.examples import _caption, _how, example_of
from tests.models.small_swin import small_swin
from tests.models.small_vit import clips, small_vit
from tests.report.example import result
from tests.visualization.test_recording import Recognizer

VIT, SWIN = Variant('sta-4', {'type': 'STAPruner'}, 4), Variant('sta', None, [24, 6, 1])
NAMES = [f'class{i}' for i in range(10)]


def view(frames: int, size: int) -> View:
    """Dark frames, so that what is white was dropped."""
    return View(
        'a/b.mp4',
        np.full((frames, size, size, 3), 40, np.uint8),
        clips(1, frames=frames, size=size),
        '',
    )


@pytest.mark.parametrize(
    ('model', 'variant', 'frames', 'size'),
    [
        (Recognizer(small_vit(), 24), VIT, 16, 32),
        (Recognizer(small_swin(), 96), SWIN, 8, 64),
    ],
    ids=['vit', 'swin'],
)
def test_dropped_patches_are_white_and_kept_ones_are_not(model, variant, frames, size) -> None:
    shown = view(frames, size)
    example = example_of(model, shown, variant, 'said')
    assert example.name == 'b.mp4' and example.caption == 'said'
    with model.backbone.using(variant):
        stages = record(model, shown.clip).stages
    first, *others = example.strips
    assert first.label == 'frames: the first of 2 that share tokens'
    assert first.alt == f'{frames // 2} frames of b.mp4 as the model sees them'
    for strip, stage in zip(others, stages, strict=True):
        left, total = int(stage.kept.sum()), stage.kept.size
        said = f'after stage {stage.number}: {left} of {total} tokens, {100 * left / total:.0f} %'
        assert strip.label == said
        assert strip.alt == f'{said}, the patches of dropped tokens white'
        pixels = np.asarray(Image.open(io.BytesIO(strip.image)))
        assert pixels.shape[:2] == (strip.height, strip.width)
        panel = strip.height
        scale = panel // size
        for time in range(frames // 2):
            own = pixels[:, time * (panel + 4) : time * (panel + 4) + panel]
            assert (own[..., 3] == 255).all()
            side = stage.grid.cell[1] * scale
            for row, column in np.ndindex(stage.grid.size[1:]):
                middle = own[row * side + side // 2, column * side + side // 2, 0]
                assert (middle < 120) == stage.kept[time, row, column], (time, row, column)


def test_predictions_are_those_of_the_evaluation() -> None:
    found = result(drops=(32,))
    scores = [np.full((300, 10), 0.0, np.float32) for _ in range(2)]
    scores[0][7, 7], scores[1][7, 3] = 0.875, 0.5
    variants = [
        dataclasses.replace(v, scores=s) for v, s in zip(found.variants[:2], scores, strict=True)
    ]
    found = dataclasses.replace(found, variants=tuple(variants))
    assert _caption(found, 7, 'sta-32', NAMES, '') == (
        'Class class7. Prediction changed. unpruned: class7 87.5 % (right); sta-32: class3 50.0 % '
        '(wrong).'
    )
    scores[1][7, 7] = 0.625
    said = _caption(found, 7, 'sta-32', NAMES, 'clip 3 of 5')
    assert said.startswith('Class class7. Prediction unchanged. ')
    assert said.endswith('sta-32: class7 62.5 % (right). Shown is clip 3 of 5.')
    alone = dataclasses.replace(found, variants=found.variants[1:])
    assert _caption(alone, 7, 'sta-32', NAMES, '') == 'Class class7. sta-32: class7 62.5 % (right).'


def test_how_they_were_chosen_is_said() -> None:
    before, after = np.zeros(300, int), np.zeros(300, int)
    after[:45] = 1
    said = _how(result(), before, after, VIT)
    assert said.startswith('What sta-4 keeps. It changes the prediction of 45 of 300 videos;')
    assert 'changes' not in _how(result(unpruned=False), before, after, VIT)
