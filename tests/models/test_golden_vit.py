"""Small random models with outputs of the released code: features, logits and kept indices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sta.checkpoints import load_checkpoint
from sta.models import STAVisionTransformer
from tests.models import reference_vit
from tests.models.small_vit import TO_VIDEOMAE

GOLDEN = Path(__file__).resolve().parents[2] / '../shared/golden'
CASES = [('vit_depth6', r) for r in (0, 2, 4, 6)] + [('vit_depth12', r) for r in (0, 4, 9, 16)]


def read(name: str) -> tuple[dict, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Architecture, arrays and weights of one file."""
    path = GOLDEN / f'{name}.npz'
    if not path.exists():
        pytest.skip(f'no ground truth at {path}')
    arrays = dict(np.load(path))
    weights = {key[6:]: value for key, value in arrays.items() if key.startswith('param.')}
    return json.loads(str(arrays['meta'])), arrays, weights


def build(meta: dict) -> STAVisionTransformer:
    names = (
        'img_size',
        'patch_size',
        'embed_dims',
        'depth',
        'num_heads',
        'num_frames',
        'tubelet_size',
    )
    return STAVisionTransformer(**{name: meta[name] for name in names}).eval()


def host_names(weights: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, value in weights.items():
        for host, videomae in TO_VIDEOMAE.items():
            name = name.replace(videomae, host)
        renamed[name] = torch.from_numpy(value)
    return renamed


@pytest.mark.parametrize('name, num_drop', CASES)
def test_features_logits_and_kept_indices(name, num_drop) -> None:
    meta, arrays, weights = read(name)
    assert num_drop in meta['r']
    model, renamed = build(meta), host_names(weights)
    head = renamed.pop('head.weight'), renamed.pop('head.bias')
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert set(missing) <= {'pos_embed'} and not unexpected
    model.set_schedule(num_drop)
    with torch.no_grad():
        feature, kept = model(torch.from_numpy(arrays['clip']), return_kept=True)
        logits = torch.nn.functional.linear(feature, *head)
    np.testing.assert_allclose(feature, arrays[f'feature_r{num_drop}'], atol=1e-5, rtol=0)
    np.testing.assert_allclose(logits, arrays[f'logits_r{num_drop}'], atol=1e-5, rtol=0)
    for stage in range(3 if num_drop else 0):
        np.testing.assert_array_equal(kept[stage], arrays[f'kept_r{num_drop}_stage{stage}'])


@pytest.mark.parametrize('name', ['vit_depth6', 'vit_depth12'])
def test_the_loader_reads_the_names_of_the_released_code(name, tmp_path) -> None:
    """As a state dict, and as files with the wrappings checkpoints come in."""
    meta, arrays, weights = read(name)
    weights = {key: torch.from_numpy(value) for key, value in weights.items()}
    for wrapping in ('model', 'module'):
        torch.save({wrapping: weights, 'epoch': 3}, tmp_path / f'{wrapping}.pth')
    for source in (weights, tmp_path / 'model.pth', str(tmp_path / 'module.pth')):
        model = build(meta)
        load_checkpoint(model, source)
        model.set_schedule(meta['r'][-1])
        with torch.no_grad():
            feature = model(torch.from_numpy(arrays['clip']))
        expected = arrays[f'feature_r{meta["r"][-1]}']
        np.testing.assert_allclose(feature, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('name, num_drop', CASES)
def test_the_reference_of_these_tests(name, num_drop) -> None:
    """What everything else is compared with must itself agree."""
    meta, arrays, weights = read(name)
    stages = []
    if num_drop:
        frames = meta['num_frames'] // meta['tubelet_size']
        stages = reference_vit.default_stages(
            num_drop, depth=meta['depth'], num_frames_tokens=frames
        )
    found = reference_vit.forward(
        arrays['clip'][1], weights, num_heads=meta['num_heads'], stages=stages
    )
    np.testing.assert_allclose(found.feature, arrays[f'feature_r{num_drop}'][1], atol=1e-5, rtol=0)
    np.testing.assert_allclose(found.logits, arrays[f'logits_r{num_drop}'][1], atol=1e-5, rtol=0)
    for stage, kept in enumerate(found.kept):
        np.testing.assert_array_equal(kept, arrays[f'kept_r{num_drop}_stage{stage}'][1])
