"""GradNorm against finite differences of the running model, and a model solved by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sta.analysis.gradients import grad_norm, spread
from sta.pruning import Variant

from .recognizers import clip_of, swin, vit

STEP = 1e-6
VIT_CLIP, SWIN_CLIP = (1, 3, 8, 16, 16), (1, 3, 4, 20, 24)


def slope_sums(model, clip, label, block, tokens, channels) -> list[float]:
    """Per token of a block the sum over channels of |slope of the loss|, by central differences."""
    blocks = [m for m in model.backbone.modules() if type(m).__name__ in ('Block', 'SwinBlock')]
    channel, clips = torch.arange(channels), clip.expand(2 * channels, *clip.shape[1:])
    sums = []
    for token in range(tokens):

        def move(_, arguments, token=token):
            """One channel further in one clip, back in another."""
            moved = arguments[0].clone()
            moved[channel, token, channel] += STEP
            moved[channels + channel, token, channel] -= STEP
            return (moved, *arguments[1:])

        handle = blocks[block].register_forward_pre_hook(move)
        with torch.no_grad():
            logits = model.cls_head(model.backbone(clips))
        handle.remove()
        up, down = F.cross_entropy(
            logits, torch.full((2 * channels,), label), reduction='none'
        ).unflatten(0, (2, channels))
        sums.append(float(((up - down) / (2 * STEP)).abs().sum()))
    return sums


@pytest.mark.parametrize('drop', [0, 1])
def test_vit_by_finite_differences(drop: int) -> None:
    model, clip = vit().double(), clip_of(*VIT_CLIP)
    model.backbone.set_schedule(drop)
    _, kept = model.backbone(clip, return_kept=True)
    alive, expected = list(range(16)), [0.0] * 16
    for block in range(3):
        for place, value in zip(alive, slope_sums(model, clip, 2, block, len(alive), 8)):
            expected[place] += value
        if drop:
            alive = [alive[i] for i in kept[block][0].tolist()]
    found = grad_norm(model, clip, torch.tensor([2]))
    assert found.map.shape == (1, 4, 2, 2)
    torch.testing.assert_close(found.map.flatten(), torch.tensor(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('drops', [None, [3, 1], [{'after_block': 0, 'num_drop': 3}]])
def test_swin_by_finite_differences(drops: list | None) -> None:
    """A merged token's share is divided between the places it covers, fewer of them at an edge."""
    model, clip = swin().double(), clip_of(*SWIN_CLIP)
    model.backbone.set_schedule(drops)
    kept = model.backbone(clip, return_kept=True)[1]
    expected = torch.zeros(2, 5, 6, dtype=torch.float64)
    for block, level, rows, columns in ((0, 0, 5, 6), (1, 1, 3, 3), (2, 1, 3, 3), (3, 2, 2, 2)):
        places = list(range(2 * rows * columns))
        if 0 < level <= len(kept):
            places = kept[level - 1][0].tolist()
        sums = slope_sums(model, clip, 1, block, len(places), 4 * 2**level)
        for place, value in zip(places, sums):
            t, y, x = place // (rows * columns), place // columns % rows, place % columns
            side = 2**level
            covered = expected[t, y * side : (y + 1) * side, x * side : (x + 1) * side]
            covered += value / covered.numel()
    found = grad_norm(model, clip, torch.tensor([1])).map[0]
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-6)


def silent_vit():
    """Blocks that add nothing: the feature is the norm of the mean of what is left."""
    model = vit(depth=2)
    for name, value in model.backbone.named_parameters():
        if 'attn.proj' in name or 'mlp.layers.1' in name:
            torch.nn.init.zeros_(value)
    return model.double()


@pytest.mark.parametrize('drop', [0, 1])
def test_a_model_solved_by_hand(drop: int) -> None:
    """A kept token gets 1 / K of the gradient of the mean of K in both blocks, others nothing."""
    model, clip = silent_vit(), clip_of(*VIT_CLIP)
    model.backbone.set_schedule([drop, 0] if drop else None)
    embedded, _ = model.backbone._embed(clip)
    kept = list(range(16))
    if drop:
        kept = model.backbone(clip, return_kept=True)[1][0][0].tolist()
    mean = embedded[:, kept].mean(1).detach().requires_grad_()
    loss = F.cross_entropy(model.cls_head(model.backbone.fc_norm(mean)), torch.tensor([4]))
    (gradient,) = torch.autograd.grad(loss, mean)
    expected = torch.zeros(16)
    expected[kept] = 2 * float(gradient.abs().sum()) / len(kept)
    assert len(kept) == 16 - 4 * drop
    found = grad_norm(model, clip, torch.tensor([4]))
    torch.testing.assert_close(found.map.flatten(), expected)


def test_without_a_label_the_loss_is_of_the_predicted_class() -> None:
    model, clips = vit(), clip_of(3, *VIT_CLIP[1:]).float()
    found = grad_norm(model, clips)
    predicted = model.cls_head(model.backbone(clips)).argmax(-1)
    assert torch.equal(found.labels, predicted)
    torch.testing.assert_close(found.map, grad_norm(model, clips, predicted).map)
    other = grad_norm(model, clips, (predicted + 1) % 5)
    assert not torch.allclose(found.map, other.map)
    assert torch.equal(found.logits.argmax(-1), predicted)


def test_a_clip_in_a_batch_is_the_clip_alone() -> None:
    model, clips = vit(schedule=1), clip_of(3, *VIT_CLIP[1:]).float()
    together = grad_norm(model, clips).map
    for i in range(3):
        torch.testing.assert_close(grad_norm(model, clips[i : i + 1]).map[0], together[i])


def test_nothing_is_left_behind() -> None:
    model, clip = vit(), clip_of(*VIT_CLIP).float()
    model.requires_grad_(False)
    before = model.cls_head(model.backbone(clip))
    with torch.inference_mode():
        grad_norm(model, clip * 1.0)
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(model.cls_head(model.backbone(clip)), before)


def test_merged_tokens_have_no_place() -> None:
    model = vit()
    with model.backbone.using(Variant('merge', {'type': 'ToMeMergePruner'}, 1)):
        with pytest.raises(ValueError, match='ToMeMergePruner merges'):
            grad_norm(model, clip_of(*VIT_CLIP).float())


def test_spreading_keeps_the_sum_and_the_place() -> None:
    values = torch.tensor([[[[8.0, 2.0], [4.0, 1.0]]]])
    assert spread(values, (1, 3, 3))[0, 0].tolist() == [[2, 2, 1], [2, 2, 1], [2, 2, 1]]
    assert torch.equal(spread(values, (1, 2, 2)), values)
    four = spread(values, (1, 7, 8))
    assert four[0, 0, 6, 7] == 1 / 12 and four[0, 0, 3, 3] == 0.5 and four.sum() == 15
