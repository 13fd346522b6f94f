"""The example of CONTRIBUTING.md is a pruner that works."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from sta.pruning import PruningStage, StageContext

ROOT = Path(__file__).parents[1]


def example() -> object:
    text = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
    code = re.search(r'```python\n(import torch\n.*?)```', text, re.DOTALL).group(1)
    names: dict[str, object] = {}
    exec(code, names)
    return names['EvenPruner']()


def test_the_example_pruner_keeps_every_second_token_of_each_chunk() -> None:
    tokens = torch.arange(2 * 8.0).reshape(2, 8, 1)
    ids = torch.zeros(2, dtype=torch.int64)
    context = StageContext(0, torch.arange(8).repeat(2, 1), (2, 2), ids)
    stage = PruningStage(after_block=1, num_chunks=2, num_drop=2)
    pruned = example()(tokens, None, stage, context)
    assert pruned.kept.tolist() == [[0, 2, 4, 6]] * 2
    assert pruned.tokens[..., 0].tolist() == [[0, 2, 4, 6], [8, 10, 12, 14]]


def test_the_example_runs_in_a_backbone() -> None:
    from sta.models import STAVisionTransformer

    size = dict(img_size=32, patch_size=16, embed_dims=32, depth=3, num_heads=2, num_frames=16)
    backbone = STAVisionTransformer(schedule=1, pruner=example(), **size).eval()
    clip = torch.zeros(1, 3, 16, 32, 32)
    with torch.no_grad():
        _, kept = backbone(clip, return_kept=True)
    assert [indices.shape[1] for indices in kept] == backbone.schedule.tokens_after_stages(32)
