"""What the documentation shows as Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from sta.checkpoints import load_checkpoint
from sta.models import STAVisionTransformer
from sta.pruning import trace
from tests.tools.tiny import forget_loggers

ROOT = Path(__file__).parents[1]


def code_of(page: str, after: str) -> str:
    """The first block of Python behind a text on a page of docs/."""
    text = (ROOT / 'docs' / page).read_text(encoding='utf-8').partition(after)[2]
    return re.search(r'```python\n(.*?)```', text, re.DOTALL).group(1)


def test_the_python_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(code_of('python.md', '# From Python'), names)
    with torch.no_grad():
        whole = names['backbone']
        whole.set_pruner(dict(type='STAPruner'))
        whole.set_schedule(8)
        features, kept = whole(names['clips'], return_kept=True)
        whole.set_schedule(4)
        unlike = whole(names['clips'])
    assert torch.equal(features, names['features'])
    assert torch.equal(trace(kept, whole.grid), names['places'])
    assert (unlike - features).abs().max() > 1e-4
    assert (names['random'] - features).abs().max() > 1e-4
    assert type(names['again']) is STAVisionTransformer
    assert names['maps'].shape == (1, 768, 4, 17, 1)
    assert names['left'].shape == (2, 1056, 384) and names['lengths'] == [1056, 800, 672]


def test_modules_that_earlier_pages_name_are_there() -> None:
    from sta.analysis.places import trajectory_sum_of
    from sta.analysis.trajectories import trajectory_sum_of as from_pictures
    from sta.datasets.motions.clip import ClipSource as FromMotions
    from sta.datasets.motions.clips import ClipSource
    from sta.report import read_scores
    from sta.report.writers import read_scores as from_training

    assert from_pictures is trajectory_sum_of
    assert FromMotions is ClipSource
    assert from_training is read_scores


def test_the_backbone_in_a_config_of_mmaction2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example trains and evaluates in mmengine's runner, with nothing of ours but the model."""
    monkeypatch.chdir(ROOT)
    forget_loggers()
    (tmp_path / 'theirs.py').write_text(code_of('own_model.md', 'In a config of mmaction2'))
    config = Config.fromfile(tmp_path / 'theirs.py')
    config.work_dir = str(tmp_path / 'run')
    for loader in (config.train_dataloader, config.test_dataloader):
        loader.dataset.indices = 16
    runner = Runner.from_cfg(config)
    assert type(runner.model.backbone) is STAVisionTransformer
    assert type(runner.model.cls_head).__module__.startswith('mmaction.')
    runner.train()
    assert runner.iter == 2
    load_checkpoint(runner.model, 'checkpoints/sta_vit_motions.safetensors')
    pruned = runner.test()['acc/top1']
    runner.model.backbone.set_schedule(0)
    assert pruned >= 0.8 and runner.test()['acc/top1'] >= 0.9


def test_the_inferencer_of_own_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    forget_loggers()
    names: dict[str, Any] = {}
    exec(code_of('own_model.md', '## MMAction2Inferencer'), names)
    classes = Path(names['names']).read_text().split()
    assert classes[max(range(10), key=names['scores'].__getitem__)] == 'approaching'
    assert names['model'].backbone.schedule.active
