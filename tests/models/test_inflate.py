"""Image Swin weights in a VideoSwin: the host's inflation, and files that do not fit."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from sta.models import STASwinTransformer3D
from sta.models.swin_attention import Size
from tests.models.small_swin import ARCH, small_swin


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
