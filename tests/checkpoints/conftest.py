"""A checkpoint written by mmengine itself, at the end of a real if very short training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.runner import Runner
from torch import nn

from tests.checkpoints.sources import NUM_CLASSES, recognizer


@pytest.fixture(scope='session')
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """The model as trained, and the file with logs (HistoryBuffer) and numpy scalars beside it."""
    generator = torch.Generator().manual_seed(0)
    samples = [
        {
            'inputs': torch.randn(1, 3, 4, 16, 16, generator=generator),
            'data_samples': ActionDataSample().set_gt_label(label),
        }
        for label in range(NUM_CLASSES)
    ]
    runner = Runner(
        model=recognizer(seed=4),
        work_dir=str(tmp_path_factory.mktemp('training')),
        train_dataloader={
            'dataset': samples,
            'batch_size': 2,
            'num_workers': 0,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'collate_fn': {'type': 'pseudo_collate'},
        },
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 1e-3}},
        param_scheduler=[{'type': 'LinearLR', 'start_factor': 0.1}],
        default_scope='mmaction',
        log_level='ERROR',
        randomness={'seed': 0},
        experiment_name='checkpoints',
    )
    runner.train()
    return runner.model.eval(), Path(runner.work_dir) / 'epoch_1.pth'
