"""The module that is exported: from pixels or normalised clips to the recognizer's logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.errors import ExportError
from sta.export import ClipClassifier, capture
from sta.export.write import check_onnx
from sta.pruning import build_pruner
from tests.models.small_vit import randomise
from tests.tools.tiny import ROOT

SMALL = dict(img_size=32, patch_size=8, embed_dims=24, depth=3, num_heads=2, num_frames=4)


def recognizer(schedule: object = 4, **options: object) -> nn.Module:
    given = {**{f'model.backbone.{key}': value for key, value in SMALL.items()}, **options}
    given |= {'model.cls_head.num_classes': 5, 'model.cls_head.in_channels': 24}
    path = Path(ROOT, 'configs', '_base_', 'models', 'sta_vit.py')
    config = load_config(str(path), [f'{key}={value!r}' for key, value in given.items()])
    model = randomise(build_model(config)).eval()
    # Two frames of tokens make one stage: the next one would have but one chunk.
    stages = [dict(after_block=0, num_chunks=2, num_drop=schedule)] if schedule else None
    model.backbone.set_schedule(stages)
    return model


def test_pixels_are_normalised_as_the_preprocessor_does() -> None:
    model = recognizer()
    frames = torch.randint(0, 256, (2, 3, 4, 32, 32), dtype=torch.uint8)
    data = {'inputs': list(frames), 'data_samples': [None, None]}
    clips = model.data_preprocessor(data, training=False)['inputs']
    with torch.no_grad():
        expected = model.extract_feat(clips.unsqueeze(1), stage='head')[0]
        ours = {
            'normalised': ClipClassifier(model, pixels='normalised')(clips),
            'float': ClipClassifier(model, pixels='float')(frames.float()),
            'uint8': ClipClassifier(model, pixels='uint8')(frames),
        }
    for logits in ours.values():
        assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('pixels', 'dtype', 'low', 'high'),
    [('normalised', 'float32', -3, 3), ('float', 'float32', 0, 255), ('uint8', 'uint8', 0, 255)],
)
def test_made_up_clips_are_what_the_model_takes(
    pixels: str, dtype: str, low: float, high: float
) -> None:
    clips = ClipClassifier(recognizer(), pixels=pixels).example(2, (3, 4, 32, 32), seed=1)
    assert clips.shape == (2, 3, 4, 32, 32) and str(clips.dtype) == f'torch.{dtype}'
    assert low <= clips.min() < clips.max() <= high
    assert (clips[0] != clips[1]).any()


def test_shapes_that_depend_on_the_clip_are_refused_by_name() -> None:
    model = recognizer(None)
    model.backbone.pruner = build_pruner(dict(type='RunLengthPruner'))
    with pytest.raises(ExportError, match='RunLengthPruner lets the clip say'):
        ClipClassifier(model, pixels='normalised')


def test_pixels_need_a_mean() -> None:
    model = recognizer(
        **{'model.data_preprocessor.mean': None, 'model.data_preprocessor.std': None}
    )
    ClipClassifier(model, pixels='normalised')
    with pytest.raises(ExportError, match='normalises no pixels'):
        ClipClassifier(model, pixels='uint8')


def test_draws_do_not_go_into_onnx_but_only_where_something_is_drawn() -> None:
    pytest.importorskip('onnxruntime')
    model = recognizer()
    model.backbone.set_pruner(dict(type='STAPruner', first_frame='random'))
    with pytest.raises(ExportError, match='STAPruner draws at random .* --format pt2'):
        check_onnx(ClipClassifier(model, pixels='normalised'))
    model.backbone.set_schedule(None)
    check_onnx(ClipClassifier(model, pixels='normalised'))


class _WholeBatch(nn.Module):
    """A head that looks at the number of clips, as no graph for any batch size can."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :5] * len(list(features))


def test_where_any_batch_size_cannot_be_had_one_is_and_it_says_so() -> None:
    model = recognizer()
    model.cls_head = _WholeBatch()
    captured = capture(ClipClassifier(model, pixels='normalised'), (3, 4, 32, 32))
    assert captured.batch_size == 1
    assert captured.note.startswith('the batch size is fixed to 1: torch.export cannot trace')
