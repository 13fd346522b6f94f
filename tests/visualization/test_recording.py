"""What is recorded is what ran: kept places, scores of the tokens that were there, and no more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sta.pruning import Pruner, Variant
from sta.visualization import record
from sta.visualization.maps import kept_rows, score_rows
from tests.analysis.recognizers import Recognizer
from tests.models.small_swin import small_swin
from tests.models.small_vit import clips, small_vit


def vit(**changed):
    return Recognizer(small_vit(**{'schedule': 4, **changed}), 24)


def swin(**changed):
    return Recognizer(small_swin(**{'schedule': [24, 6, 1], **changed}), 96)


CASES = {
    'vit': (vit, (16, 32, 32)),
    'vit, oblong': (vit, (16, 32, 48)),
    'swin': (swin, (8, 64, 64)),
    'swin, odd': (swin, (6, 60, 84)),
}


@pytest.fixture(params=CASES)
def case(request):
    """A model, a clip, its recording and its kept indices as plain lists."""
    make, (frames, height, width) = CASES[request.param]
    model = make()
    clip = clips(1, frames=frames, size=max(height, width))[..., :height, :width]
    kept = [stage[0].tolist() for stage in model.backbone(clip, return_kept=True)[1]]
    return model, clip, record(model, clip), kept


def kept_places(model, kept: list[list[int]]) -> list[set[int]]:
    """ViT's indices count from the tokens before the stage, VideoSwin's from its grid."""
    if model.backbone.stage_places:
        return [set(stage) for stage in kept]
    places, left = [], None
    for stage in kept:
        left = [i if left is None else left[i] for i in stage]
        places.append(set(left))
    return places


def test_the_maps_hold_the_places_that_were_kept(case) -> None:
    model, _, recording, kept = case
    for maps, places in zip(recording.stages, kept_places(model, kept), strict=True):
        assert set(np.flatnonzero(maps.kept)) == places


def test_scores_say_why_tokens_were_kept(case) -> None:
    """In every chunk but the first those with the smallest scores are; NaN is who was not there."""
    model, _, recording, _ = case
    before = None
    for maps in recording.stages:
        there = np.ones(maps.grid.size, bool)
        if before is not None and before.shape == there.shape:
            there = before
        assert (np.isnan(maps.importance) == ~there).all()
        num_chunks = maps.stage.num_chunks or maps.grid.size[0]
        chunks = [
            array.reshape(num_chunks, -1)
            for array in (there, maps.kept, maps.importance, maps.redundancy, maps.ranked)
        ]
        first = num_chunks - 1 if maps.stage.backward else 0
        for t, (here, kept, importance, redundancy, ranked) in enumerate(zip(*chunks)):
            assert importance[here].min() == 0 and importance[here].max() == 1
            if t == first:
                assert np.isnan(redundancy).all() and np.isnan(ranked).all()
                continue
            assert (np.isnan(redundancy) == ~here).all()
            assert redundancy[here].mean() == pytest.approx(1, abs=1e-5)
            assert ranked[here & kept].max() <= ranked[here & ~kept].min()
            product = redundancy * (1 - importance)
            np.testing.assert_allclose(
                ranked[here], (product / product[here].mean())[here], rtol=1e-4, atol=1e-6
            )
        before = None if model.backbone.stage_places else maps.kept


def test_importance_is_that_of_the_tokens_in_the_stage(case) -> None:
    """Sum of absolute channels behind the block, taken by another pruner that sees them."""
    model, clip, recording, _ = case
    seen = []

    class Spy(Pruner, name=None):
        similarity, per_chunk = 'key', True

        def __init__(self, inner) -> None:
            self.inner = inner

        def __call__(self, tokens, features, stage, context):
            seen.append(tokens[0].abs().sum(-1).view(stage.num_chunks, -1))
            return self.inner(tokens, features, stage, context)

    backbone = model.backbone
    with backbone.using(Variant('spy', Spy(backbone.pruner), backbone.schedule)):
        backbone(clip)
    weight = seen[0]
    low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    expected = ((weight - low) / (high - low)).flatten().detach().numpy()
    np.testing.assert_allclose(recording.stages[0].importance.ravel(), expected, atol=1e-5)


def test_recording_changes_nothing(case) -> None:
    model, clip, recording, _ = case
    pruner, schedule = model.backbone.pruner, model.backbone.schedule
    again = record(model, clip)
    assert model.backbone.pruner is pruner and model.backbone.schedule is schedule
    with torch.no_grad():  # other kernels run where gradients are wanted
        logits = model.cls_head(model.backbone(clip))[0]
    assert torch.equal(recording.logits, logits) and torch.equal(again.logits, logits)
    for one, other in zip(recording.stages, again.stages):
        np.testing.assert_array_equal(one.ranked, other.ranked)


def test_white_patches_are_the_dropped_tokens(case) -> None:
    """Pixel by pixel, over the whole clip: none of the others changes."""
    _, clip, recording, _ = case
    frames = np.random.default_rng(0).integers(0, 200, (*clip.shape[2:], 3), dtype=np.uint8)
    for row, maps in zip(kept_rows(frames, recording.stages), recording.stages, strict=True):
        depth, height, width = maps.grid.cell
        assert 0 < maps.kept.sum() < maps.kept.size
        for f, y, x in np.ndindex(*clip.shape[2:]):
            token = maps.kept[f // depth, y // height, x // width]
            same = (row.panels[f, y, x] == frames[f, y, x]).all()
            assert same if token else row.panels[f, y, x].min() >= 218


def test_random_pruning_has_no_scores() -> None:
    model = vit(pruner={'type': 'RandomPruner'})
    recording = record(model, clips(1))
    assert [int(maps.kept.sum()) for maps in recording.stages] == [96, 80, 72]
    assert all(maps.importance is None for maps in recording.stages)
    assert score_rows(recording.stages[0], (16, 32, 32)) == []


def test_a_stage_of_one_chunk_has_importance_alone() -> None:
    model = vit(schedule=[{'after_block': 0, 'num_chunks': 1, 'num_drop': 9}])
    (maps,) = record(model, clips(1)).stages
    assert np.isnan(maps.redundancy).all() and np.isnan(maps.ranked).all()
    assert maps.importance.max() == 1 and maps.kept.sum() == 119


def test_merging_and_several_clips_are_refused() -> None:
    with pytest.raises(ValueError, match='ToMeMergePruner merges'):
        record(vit(pruner={'type': 'ToMeMergePruner'}), clips(1))
    with pytest.raises(ValueError, match='one clip at a time, got 2'):
        record(vit(), clips(2))
