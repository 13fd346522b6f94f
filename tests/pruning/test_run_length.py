"""Run-length tokenization against frames compared one tubelet at a time, in plain Python."""

from __future__ import annotations

import pytest
import torch

from sta.pruning import PruningStage, RunLengthPruner, tubelet_changes
from tests.models.small_vit import clips, small_vit

GRID = (8, 4, 4)


def slow_changes(clip, grid=GRID) -> list[list[list[float]]]:
    """[clip][tubelet after the first][place], mean over the pixels and channels of a patch."""
    frames, rows, columns = grid
    step, high, wide = clip.shape[2] // frames, clip.shape[3] // rows, clip.shape[4] // columns
    found = []
    for one in clip.double():
        found.append([])
        for t in range(1, frames):
            first_before, last_now = one[:, (t - 1) * step], one[:, t * step + step - 1]
            found[-1].append([])
            for y in range(rows):
                for x in range(columns):
                    box = (
                        slice(None),
                        slice(y * high, y * high + high),
                        slice(x * wide, x * wide + wide),
                    )
                    gap = [
                        abs(a - b)
                        for a, b in zip(
                            first_before[box].flatten().tolist(), last_now[box].flatten().tolist()
                        )
                    ]
                    found[-1][-1].append(sum(gap) / len(gap))
    return found


def half_still(number: int = 3) -> torch.Tensor:
    """The left half of every frame repeats the first one; the right half changes."""
    clip = clips(number)
    clip[..., :16] = clip[:, :, :1, :, :16]
    return clip


def test_changes_are_those_of_a_slow_comparison() -> None:
    clip = clips(2)
    found = tubelet_changes(clip, GRID)
    torch.testing.assert_close(found, torch.tensor(slow_changes(clip)).float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.55, 0.6, 5.0])
def test_what_changes_less_than_the_threshold_goes(threshold) -> None:
    clip = clips(3)
    slow = slow_changes(clip)
    for i, kept in enumerate(RunLengthPruner(threshold=threshold).kept_at_input(clip, GRID)):
        expected = list(range(16))
        for t, places in enumerate(slow[i], start=1):
            expected += [16 * t + n for n, change in enumerate(places) if change >= threshold]
        assert kept.tolist() == expected


def test_what_stands_still_stays_once() -> None:
    """Left half: in the first frame only. Right half: always."""
    for kept in RunLengthPruner(threshold=0.01).kept_at_input(half_still(), GRID):
        left = [place for place in kept.tolist() if place % 4 < 2]
        assert left == [0, 1, 4, 5, 8, 9, 12, 13]
        assert len(kept) == 8 + 8 * 8


def test_a_slow_drift_below_the_threshold_goes_on_being_dropped() -> None:
    """Neighbours are compared, as in the paper, so nothing adds up over time."""
    drift = torch.arange(16).float().reshape(1, 1, 16, 1, 1) * 0.03
    clip = drift.expand(1, 3, 16, 32, 32)
    (kept,) = RunLengthPruner(threshold=0.1).kept_at_input(clip, GRID)  # 3 steps make 0.09
    assert kept.tolist() == list(range(16))
    (kept,) = RunLengthPruner(threshold=0.08).kept_at_input(clip, GRID)
    assert len(kept) == 128


@pytest.mark.parametrize('threshold', [-0.1, float('nan'), float('inf'), '0.1', True, None])
def test_wrong_thresholds_are_refused(threshold) -> None:
    with pytest.raises(ValueError, match='threshold must be a number of at least 0'):
        RunLengthPruner(threshold=threshold)


def test_it_takes_no_schedule() -> None:
    with pytest.raises(ValueError, match='takes no schedule'):
        RunLengthPruner().check(PruningStage(0, 8, 4))


def run(model, x, threshold):
    from sta.pruning import Variant

    variant = Variant('rlt', dict(type='RunLengthPruner', threshold=threshold), None)
    with torch.no_grad(), model.using(variant):
        return model(x, return_kept=True)


def test_the_model_sees_the_kept_tokens_of_each_clip_and_no_others() -> None:
    """Against the blocks run by hand on every clip's tokens, with as many as it keeps."""
    model, x = small_vit(), torch.cat([half_still(2), clips(1, seed=7)])
    feature, (kept,) = run(model, x, 0.5)
    lengths = []
    for i, clip in enumerate(x):
        places = RunLengthPruner(threshold=0.5).kept_at_input(clip[None], GRID)[0]
        lengths.append(len(places))
        with torch.no_grad():
            tokens = model.patch_embed(clip[None]).flatten(1, 3) + model.pos_embed
            tokens = tokens[:, places]
            for block in model.blocks:
                tokens, _ = block(tokens)
            expected = model.fc_norm(tokens.mean(1))[0]
        torch.testing.assert_close(feature[i], expected, atol=1e-5, rtol=0)
        assert kept[i, : len(places)].tolist() == places.tolist()
        assert (kept[i, len(places) :] == -1).all()
    assert len(set(lengths)) > 1, 'the clips should keep different numbers of tokens'


def test_with_nothing_below_the_threshold_it_is_the_whole_model() -> None:
    model, x = small_vit(), clips(2)
    with torch.no_grad():
        expected = model(x)
    feature, (kept,) = run(model, x, 0.0)
    torch.testing.assert_close(feature, expected, atol=1e-5, rtol=0)
    assert kept.tolist() == [list(range(128))] * 2


def test_larger_pictures_that_no_patch_divides() -> None:
    """The embedding ignores the pixels beyond the last whole patch, and so does the comparison."""
    model, x = small_vit(), clips(1, size=44)
    changed = x.clone()
    changed[..., 40:, :] += 100.0
    one, two = run(model, x, 0.5), run(model, changed, 0.5)
    assert torch.equal(one[0], two[0]) and torch.equal(one[1][0], two[1][0])


def test_a_backbone_does_not_take_it_as_its_own() -> None:
    """Else the variant that drops nothing would drop."""
    with pytest.raises(ValueError, match='only of test_cfg.pruners and --pruners'):
        small_vit(pruner=dict(type='RunLengthPruner'))


@pytest.mark.parametrize('changed', [{'use_mean_pooling': False}, {'return_feat_map': True}])
def test_where_tokens_are_not_pooled_none_may_go(changed) -> None:
    with pytest.raises(ValueError, match='where the kept ones are pooled'):
        run(small_vit(**changed), clips(1), 0.1)
