"""STASwinTransformer3D: the slow reference, the host, the oracle; its settings and weights."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from sta.errors import ScheduleError
from sta.models import STASwinTransformer3D
from sta.models.swin_attention import Size
from tests.models import reference_swin
from tests.models.small_swin import (
    ARCH,
    DROPS,
    PRUNERS,
    SMALL,
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


CLIP = clips(1, frames=8, size=64)


def output(model) -> torch.Tensor:
    with torch.no_grad():
        return model(CLIP)


def test_more_than_half_is_dropped_in_rounds_where_nothing_is_said() -> None:
    model = small_swin()
    assert model.pruner.first_frame == 'tome_rounds'
    model.set_pruner({'type': 'STAPruner', 'score': 'temporal'})
    assert model.pruner.first_frame == 'tome_rounds'
    model.set_pruner({'type': 'STAPruner', 'first_frame': 'tome'})
    assert model.pruner.first_frame == 'tome'


def test_merging_pruners_are_refused_in_one_line() -> None:
    model = small_swin(schedule=DROPS)
    before = output(model)
    with pytest.raises(ScheduleError, match='ToMeMergePruner merges.*grid.*STAPruner') as error:
        model.set_pruner({'type': 'ToMeMergePruner'})
    assert '\n' not in str(error.value)
    assert torch.equal(output(model), before)


def test_pruners_that_leave_frames_uneven_are_refused_in_one_line() -> None:
    words = 'ToMeDropPruner drops more from some frames.*as many tokens in every frame.*STAPruner'
    with pytest.raises(ScheduleError, match=words) as error:
        small_swin(schedule=DROPS).set_pruner({'type': 'ToMeDropPruner'})
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'schedule, words',
    [
        ([64, 0, 0], 'stage 1.*block 1.*64.*8 x 8 = 64.*63'),
        ([0, 0, 4], 'stage 3.*block 5.*2 x 2'),
        (384, 'stage 1.*384'),
    ],
    ids=str,
)
def test_a_schedule_too_large_for_the_clip_is_refused_when_the_clip_comes(schedule, words) -> None:
    model = small_swin(schedule=schedule)
    with pytest.raises(ScheduleError, match=words):
        output(model)


@pytest.mark.parametrize('schedule', [100, 392, [24, 6], [dict(after_block=0, num_drop=3)]])
def test_what_fits_no_clip_is_refused_when_it_is_built(schedule) -> None:
    with pytest.raises(ScheduleError):
        STASwinTransformer3D(**SMALL, schedule=schedule)


def test_dropping_needs_the_last_stage_alone() -> None:
    for changed in ({'out_indices': (2, 3)}, {'out_after_downsample': True}):
        with pytest.raises(ScheduleError, match='out_indices'):
            small_swin(**changed, schedule=DROPS)


@pytest.mark.parametrize(
    'changed, words',
    [
        ({'arch': 'huge'}, "'base'.*huge"),
        ({'arch': {'embed_dims': 12}}, 'depths'),
        ({'arch': {'embed_dims': 12, 'depths': [2, 2], 'num_heads': [2]}}, r'\[2, 2\].*\[2\]'),
        ({'arch': {'embed_dims': 12, 'depths': [2], 'num_heads': [5]}}, '12.*5 heads'),
        ({'window_size': (7, 7)}, r'window_size.*\(7, 7\)'),
        ({'patch_size': (2, 0, 4)}, 'patch_size'),
        ({'out_indices': (4,)}, r'out_indices.*3.*4'),
        ({'out_indices': ()}, 'out_indices'),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(changed, words) -> None:
    with pytest.raises(ValueError, match=words):
        STASwinTransformer3D(**{**SMALL, **changed})


def test_names_of_architectures() -> None:
    widths = {'tiny': 96, 'Small': 96, 'b': 128, 'large': 192}
    with torch.device('meta'):
        for name, width in widths.items():
            assert STASwinTransformer3D(name).embed_dims == width


def test_tokens_and_grids_of_a_clip() -> None:
    model = small_swin(schedule=DROPS)
    assert model.token_grid((3, 8, 64, 64)) == (4, 16, 16)
    assert model.token_grid((3, 7, 50, 61)) == (4, 13, 16)
    assert model.tokens_after_stages((3, 8, 64, 64)) == [4 * 40, 4 * 10, 4 * 3]


def test_frozen_stages_do_not_train() -> None:
    model = small_swin(frozen_stages=1).train()
    assert not model.patch_embed.training and not model.layers[0].training
    assert model.layers[1].training
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert trained and not any(name.startswith(('patch_embed', 'layers.0')) for name in trained)


def test_the_host_backbone_has_the_same_weights() -> None:
    model = small_swin()
    host = model.host()
    with torch.no_grad():
        assert torch.equal(host(CLIP), model(CLIP))
    assert not host.training and all(
        a.data_ptr() != b.data_ptr()
        for a, b in zip(host.parameters(), model.parameters(), strict=True)
    )


def image_weights(side: int = 3) -> dict[str, torch.Tensor]:
    """What an image Swin of the small architecture would hold, windows of side x side."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, value in STASwinTransformer3D(ARCH, window_size=(1, side, side)).state_dict().items():
        value = (
            torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        )
        if name == 'patch_embed.proj.weight':
            value = value[:, :, 0]
        weights[name.replace('norm3.', 'norm.')] = value
    weights['layers.0.blocks.1.attn_mask'] = torch.zeros(4, side**2, side**2)
    weights['head.weight'] = torch.zeros(10, 96)
    return weights


@pytest.mark.parametrize('window', [(2, 3, 3), (4, 5, 5)], ids=str)
def test_it_is_the_hosts_inflation(window: Size, tmp_path: Path) -> None:
    from mmaction.models.backbones.swin import SwinTransformer3D

    path = str(tmp_path / 'swin2d.pth')
    weights = image_weights()
    weights.pop('head.weight')  # the host would report it as unexpected
    torch.save({'model': weights}, path)
    host = SwinTransformer3D(ARCH, pretrained=path, window_size=window)
    host.inflate_weights(logging.getLogger('host'))
    ours = STASwinTransformer3D(ARCH, pretrained=path, window_size=window)
    ours.init_weights()
    expected = host.state_dict()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_weights_of_a_video_model_are_taken_as_they_are(tmp_path: Path) -> None:
    saved, path = small_swin(seed=5), str(tmp_path / 'swin3d.pth')
    weights = {f'backbone.{name}': value for name, value in saved.state_dict().items()}
    torch.save({'state_dict': weights}, path)
    model = small_swin(pretrained=path, pretrained2d=False)
    model.init_weights()
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), saved.parameters(), strict=True)
    )


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    weights = image_weights()
    del weights['layers.1.blocks.0.norm1.weight']
    torch.save(weights, tmp_path / 'lacking.pth')
    (tmp_path / 'text.pth').write_text('no weights')
    torch.save([1, 2], tmp_path / 'list.pth')
    for name, words in (
        ('lacking.pth', 'does not fit: 1 weights .*layers.1.blocks.0.norm1.weight'),
        ('text.pth', 'cannot be read'),
        ('list.pth', 'no state dict'),
        ('absent.pth', 'cannot be read.*absent'),
    ):
        model = small_swin(pretrained=str(tmp_path / name))
        with pytest.raises(ValueError, match=words):
            model.init_weights()


def test_without_a_file_weights_are_drawn() -> None:
    model = small_swin()
    model.init_weights()
    assert model.layers[0].blocks[0].attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.2)
