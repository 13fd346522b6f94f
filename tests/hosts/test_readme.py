"""The example of the README, run on a small model with random weights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import sta
from tests.checkpoints.hf_models import hf_model

transformers = pytest.importorskip('transformers')
ROOT = Path(__file__).parents[2]


def test_the_example_of_the_readme(monkeypatch) -> None:
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    code = re.search(r'```python\n(import torch\n.*?)```', text, re.DOTALL).group(1)
    assert len(code.splitlines()) <= 15
    model = hf_model(image_size=224, patch_size=16, num_frames=16, num_hidden_layers=3)
    kind = transformers.VideoMAEForVideoClassification
    monkeypatch.setattr(kind, 'from_pretrained', lambda name: model)
    names: dict[str, torch.Tensor] = {}
    exec(code, names)
    logits = [names[name] for name in ('whole', 'pruned', 'random')]
    for i in range(3):
        assert (logits[i] - logits[i - 1]).abs().max() > 1e-4
    with torch.no_grad():
        assert torch.equal(model(names['clip']).logits, names['whole'])
        with sta.pruned(model, schedule=64) as run:
            assert torch.equal(model(names['clip']).logits, names['pruned'])
    assert run.kept[-1].shape == (1, 672)
