"""STAVisionTransformer: independent clips, no state, gradients, half precision, blank clips."""

from __future__ import annotations

import copy

import pytest
import torch

from sta.pruning import trace
from tests.models.small_vit import PRUNERS, clips, small_vit

TORCH_VERSION = tuple(int(part) for part in torch.__version__.split('.')[:2])


@pytest.mark.parametrize('name', PRUNERS)
def test_a_clip_does_not_feel_its_batch(name) -> None:
    """Alone, in another place, beside other clips: the same tokens stay."""
    model, x = small_vit(schedule=4, pruner=PRUNERS[name]), clips(4)
    with torch.no_grad():
        feature, kept = model(x, return_kept=True)
        for batch in ([2], [3, 2], [2, 2, 2, 0, 1]):
            at = batch.index(2)
            found, found_kept = model(x[batch], return_kept=True)
            assert all(torch.equal(a[at], b[2]) for a, b in zip(found_kept, kept, strict=True))
            torch.testing.assert_close(found[at], feature[2], atol=1e-5, rtol=0)


@pytest.mark.parametrize('name', ['random', 'tube', 'random first', 'grid'])
def test_draws_follow_the_pixels_of_the_clip_and_the_seed(name) -> None:
    model, x = small_vit(schedule=4, pruner=PRUNERS[name]), clips(2)
    x[1] = x[0]
    changed = x.clone()
    changed[1, 0, 7, 3, 5] += 0.5

    def first_stage(clip, frame: int = 0) -> list[list[int]]:
        with torch.no_grad():
            kept = model(clip, return_kept=True)[1][0]
        return kept.reshape(2, 8, 12)[:, frame].tolist()

    assert first_stage(x)[0] == first_stage(x)[1]
    assert first_stage(changed)[0] != first_stage(changed)[1]
    before = first_stage(x)
    model.set_pruner({**PRUNERS[name], 'seed': 99})
    assert first_stage(x) != before


@pytest.mark.parametrize('name', ['random', 'tube', 'random first', 'grid'])
def test_stages_draw_apart(name) -> None:
    """The same stage as number two draws other tokens than as number one."""
    model, x = small_vit(pruner=PRUNERS[name]), clips(2)
    stage = {'after_block': 1, 'num_chunks': 8, 'num_drop': 4}
    with torch.no_grad():
        model.set_schedule([stage])
        first = model(x, return_kept=True)[1][0]
        model.set_schedule([{**stage, 'after_block': 0, 'num_drop': 0}, stage])
        second = model(x, return_kept=True)[1][1]
    assert not torch.equal(first, second)


def test_tubes_reach_through_all_stages() -> None:
    """r = 4 takes 4, 2 and 1 places of every frame: 9 are left, the same ones in all 8."""
    model = small_vit(schedule=4, pruner={'type': 'TubeRandomPruner'})
    with torch.no_grad():
        kept = model(clips(2), return_kept=True)[1]
    for clip in trace(kept, (8, 4, 4)).tolist():
        places = [sorted((y, x) for t, y, x in clip if t == frame) for frame in range(8)]
        assert places == [places[0]] * 8 and len(places[0]) == 9


def snapshot(model) -> dict:
    """Every attribute of every module, tensors by value."""
    return {
        name: {
            key: value.clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)
            for part in (vars(module), module._parameters, module._buffers)
            for key, value in part.items()
            if key != '_modules'
        }
        for name, module in model.named_modules()
    }


def same(left, right) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, torch.nn.Module):
        return same(snapshot(left), snapshot(right))
    if hasattr(left, '__dict__') and not callable(left):
        return same(vars(left), vars(right))
    return left is right or left == right or callable(left)


@pytest.mark.parametrize('name', PRUNERS)
def test_a_forward_pass_leaves_nothing_behind(name) -> None:
    model = small_vit(schedule=4, pruner=PRUNERS[name])
    before, numbers = snapshot(model), torch.get_rng_state()
    first = model(clips(2))
    model(clips(3, seed=1), return_kept=True)
    assert same(before, snapshot(model))
    assert torch.equal(numbers, torch.get_rng_state())
    assert torch.equal(first, model(clips(2)))
    assert copy.deepcopy(model).state_dict().keys() == model.state_dict().keys()


def test_gradients_reach_every_parameter() -> None:
    for changed in (
        {},
        {'init_values': 0.1, 'use_learnable_pos_emb': True},
        {'pruner': PRUNERS['merge']},
    ):
        model = small_vit(schedule=4, **changed).train()
        model(clips(2)).square().sum().backward()
        for name, value in model.named_parameters():
            assert value.grad is not None, name
            assert torch.isfinite(value.grad).all() and value.grad.abs().sum() > 0, name


def test_dropped_tokens_get_no_gradient_from_after_the_drop() -> None:
    """Dropping right after the last block: only pooled tokens get a gradient."""
    last = [{'after_block': 5, 'num_chunks': 8, 'num_drop': 6}]
    model = small_vit(schedule=last)
    seen = []
    model.blocks[5].register_full_backward_hook(lambda _, __, grads: seen.append(grads[0]))
    feature, kept = model(clips(1), return_kept=True)
    feature.sum().backward()
    touched = seen[0][0].abs().sum(-1).gt(0).nonzero().flatten().tolist()
    assert touched == sorted(kept[0][0].tolist())


@pytest.mark.parametrize('name', PRUNERS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single(name, dtype) -> None:
    """With a stage after the last block only, rounding cannot change much but a few choices."""
    if dtype == torch.float16 and TORCH_VERSION < (2, 4):
        pytest.skip('float16 products on the CPU came with torch 2.4')
    last = [{'after_block': 5, 'num_chunks': 8, 'num_drop': 4}]
    model, x = small_vit(schedule=last, pruner=PRUNERS[name]), clips(2)
    expected = model(x).detach()
    with torch.no_grad(), torch.autocast('cpu', dtype):
        found, kept = model(x, return_kept=True)
    assert kept[0].dtype == torch.int64
    assert torch.isfinite(found).all()
    error = (found.float() - expected).norm() / expected.norm()
    assert error < 0.15
    model.to(dtype)
    with torch.no_grad():
        cast = model(x.to(dtype))
    assert cast.dtype == dtype and torch.isfinite(cast).all()


@pytest.mark.parametrize('value', [0.0, 1.0])
@pytest.mark.parametrize('name', PRUNERS)
def test_blank_clips_are_finite_and_deterministic(name, value) -> None:
    model = small_vit(schedule=4, pruner=PRUNERS[name])
    blank = torch.full((2, 3, 16, 32, 32), value)
    with torch.no_grad():
        feature, kept = model(blank, return_kept=True)
        again, kept_again = model(blank, return_kept=True)
    assert torch.isfinite(feature).all() and torch.equal(feature, again)
    assert all(torch.equal(a, b) and torch.equal(a[0], a[1]) for a, b in zip(kept, kept_again))
