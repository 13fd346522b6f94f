"""STASwinTransformer3D against a slow reference, the host's model and the independent oracle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sta.models import STASwinTransformer3D
from tests.models import reference_swin
from tests.models.small_swin import (
    ARCH,
    DROPS,
    PRUNERS,
    host_swin,
    numpy_weights,
    small_swin,
)
from tests.models.small_vit import clips

GOLDEN = Path(__file__).resolve().parents[2] / '../shared/golden/swin_a.npz'


@pytest.mark.parametrize(
    'window, frames, size, drops',
    [
        ((2, 3, 3), 8, 64, DROPS),
        ((2, 3, 3), 8, 64, [40, 12, 3]),  # more than half: the image pruner goes in rounds
        ((2, 3, 3), 8, 64, [0, 6, 0]),
        ((4, 7, 7), 8, 64, [30, 0, 2]),  # smaller grids than windows
        ((3, 3, 3), 7, 52, [20, 5, 1]),  # odd grids, padded windows, an incomplete tubelet
    ],
    ids=str,
)
def test_agrees_with_the_slow_reference(window, frames, size, drops) -> None:
    model = small_swin(window_size=window, schedule=drops).double()
    clip = clips(2, frames=frames, size=size).double()
    with torch.no_grad():
        feature, kept = model(clip, return_kept=True)
    tokens = feature.flatten(2).transpose(1, 2)
    for i in range(2):
        expected = reference_swin.run(
            clip[i].numpy(),
            numpy_weights(model),
            depths=ARCH['depths'],
            num_heads=ARCH['num_heads'],
            window=window,
            patch=(2, 4, 4),
            drops=drops,
        )
        assert [stage[i].tolist() for stage in kept] == expected.kept
        np.testing.assert_allclose(tokens[i].numpy(), expected.tokens, atol=2e-6)


@pytest.mark.parametrize('similarity', ['query', 'value', 'ffn'])
def test_every_similarity_agrees_with_the_slow_reference(similarity) -> None:
    settings = {'type': 'STAPruner', 'similarity': similarity}
    model = small_swin(schedule=DROPS, pruner=settings).double()
    clip = clips(1, frames=8, size=64).double()
    with torch.no_grad():
        feature, kept = model(clip, return_kept=True)
    expected = reference_swin.run(
        clip[0].numpy(),
        numpy_weights(model),
        depths=ARCH['depths'],
        num_heads=ARCH['num_heads'],
        window=(2, 3, 3),
        patch=(2, 4, 4),
        drops=DROPS,
        similarity=similarity,
    )
    assert [stage[0].tolist() for stage in kept] == expected.kept
    np.testing.assert_allclose(feature[0].flatten(1).T.numpy(), expected.tokens, atol=2e-6)


@pytest.mark.parametrize(
    'arch, window, shape',
    [
        (ARCH, (2, 3, 3), (2, 3, 8, 64, 64)),
        (ARCH, (4, 7, 7), (1, 3, 7, 52, 60)),
        ('tiny', (8, 7, 7), (1, 3, 32, 112, 112)),
        ('tiny', (16, 7, 7), (1, 3, 32, 56, 56)),
    ],
    ids=str,
)
def test_without_pruning_it_is_the_host_to_the_last_bit(arch, window, shape) -> None:
    host = host_swin(arch, window)
    ours = STASwinTransformer3D(arch, window_size=window).eval()
    assert list(ours.state_dict()) == list(host.state_dict())
    for name, value in ours.state_dict().items():
        if 'relative_position_index' in name:
            assert torch.equal(value, host.state_dict()[name]), name
    ours.load_state_dict(host.state_dict(), strict=True)
    clip = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = host(clip)
        assert torch.equal(ours(clip), expected)
        ours.fused_attention = True
        torch.testing.assert_close(ours(clip), expected, atol=1e-5, rtol=1e-5)


def test_every_output_of_the_host_can_be_returned() -> None:
    from mmaction.models.backbones.swin import SwinTransformer3D

    clip = torch.randn(1, 3, 8, 64, 64)
    for late in (False, True):
        settings = dict(window_size=(2, 3, 3), out_indices=(0, 2, 3), out_after_downsample=late)
        host = SwinTransformer3D(ARCH, pretrained2d=False, **settings)
        host.train(False)
        ours = STASwinTransformer3D(ARCH, **settings).eval()
        ours.load_state_dict(host.state_dict(), strict=True)
        with torch.no_grad():
            assert all(torch.equal(a, b) for a, b in zip(ours(clip), host(clip), strict=True))


@pytest.mark.parametrize('index', range(4))
def test_agrees_with_the_oracle(index) -> None:
    if not GOLDEN.exists():
        pytest.skip(f'no ground truth at {GOLDEN}')
    arrays = dict(np.load(GOLDEN))
    meta = json.loads(str(arrays['meta']))
    setting = meta['settings'][index]
    model = STASwinTransformer3D(
        meta['arch'],
        window_size=meta['window_size'],
        patch_size=meta['patch_size'],
        schedule=setting['drops'],
        # The file was made with the released rule for drops of more than half.
        pruner=dict(type='STAPruner', first_frame='tome'),
    ).eval()
    weights = {key[6:]: value for key, value in arrays.items() if key.startswith('param.')}
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    with torch.no_grad():
        feature, kept = model(torch.from_numpy(arrays['clip']), return_kept=True)
    tag = setting['tag']
    for i, stage in enumerate(kept):
        assert np.array_equal(stage.numpy(), arrays[f'kept_{tag}_stage{i}'])
    pooled, tokens = feature.mean((2, 3, 4)).numpy(), feature.flatten(2).transpose(1, 2).numpy()
    np.testing.assert_allclose(pooled, arrays[f'feature_{tag}'], atol=1e-5)
    np.testing.assert_allclose(tokens, arrays[f'tokens_{tag}'], atol=1e-5)


@pytest.mark.parametrize('name', PRUNERS)
def test_a_clip_does_not_feel_its_batch(name) -> None:
    """Alone, in another place, beside other clips: the same tokens stay."""
    drops = [25, 9, 1] if name == 'grid' else DROPS
    model, x = small_swin(schedule=drops, pruner=PRUNERS[name]), clips(3, frames=8, size=64)
    with torch.no_grad():
        feature, kept = model(x, return_kept=True)
        for batch in ([2], [2, 2, 0]):
            found, found_kept = model(x[batch], return_kept=True)
            assert all(torch.equal(a[0], b[2]) for a, b in zip(found_kept, kept, strict=True))
            torch.testing.assert_close(found[0], feature[2], atol=1e-5, rtol=0)


@pytest.mark.parametrize('name', PRUNERS)
def test_every_frame_keeps_its_share(name) -> None:
    drops = [25, 9, 1] if name == 'grid' else DROPS
    model = small_swin(schedule=drops, pruner=PRUNERS[name])
    with torch.no_grad():
        feature, kept = model(clips(2, frames=8, size=64), return_kept=True)
    assert feature.shape == (2, 96, 4, 4 - drops[2], 1)
    for stage, num_drop, side in zip(kept, drops, (8, 4, 2), strict=True):
        frames = stage.reshape(2, 4, side * side - num_drop)
        assert torch.equal(frames // side**2, torch.arange(4)[None, :, None].expand_as(frames))
        assert all(len(set(row.tolist())) == len(row) for row in frames.flatten(0, 1))


def test_gradients_reach_every_parameter() -> None:
    for changed in ({}, {'with_cp': True}):
        model = small_swin(schedule=DROPS, **changed).train()
        model(clips(2, frames=8, size=64)).square().sum().backward()
        for name, value in model.named_parameters():
            assert value.grad is not None and torch.isfinite(value.grad).all(), name
            assert value.grad.abs().sum() > 0, name


def test_gradients_are_those_of_the_host() -> None:
    host, ours = host_swin(), small_swin()
    ours.load_state_dict(host.state_dict())
    clip = clips(1, frames=8, size=64)
    for model in (host, ours):
        model(clip).square().sum().backward()
    for (name, ours_value), host_value in zip(
        ours.named_parameters(), host.parameters(), strict=True
    ):
        torch.testing.assert_close(ours_value.grad, host_value.grad, msg=name)


@pytest.mark.parametrize('schedule', [None, DROPS])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_weights_in_half_precision(dtype, schedule) -> None:
    model, clip = small_swin(schedule=schedule), clips(2, frames=8, size=64)
    with torch.no_grad():
        expected = model(clip).mean((2, 3, 4))
        found = model.to(dtype)(clip.to(dtype))
    assert found.dtype == dtype
    # Near-ties may fall otherwise where tokens are dropped.
    found = found.float().mean((2, 3, 4))
    assert (found - expected).norm() / expected.norm() < (0.2 if schedule else 0.05)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_runs_under_autocast(dtype) -> None:
    model, clip = small_swin(schedule=DROPS), clips(2, frames=8, size=64)
    with torch.no_grad():
        expected = model(clip).mean((2, 3, 4))
        with torch.autocast('cpu', dtype):
            found, kept = model(clip, return_kept=True)
    assert [stage.dtype for stage in kept] == [torch.int64] * 3
    found = found.float().mean((2, 3, 4))
    assert (found - expected).norm() / expected.norm() < 0.2


def test_stays_finite_on_blank_clips() -> None:
    model = small_swin(schedule=DROPS)
    for clip in (torch.zeros(1, 3, 8, 64, 64), torch.full((1, 3, 8, 64, 64), 3.0)):
        with torch.no_grad():
            assert torch.isfinite(model(clip)).all()
