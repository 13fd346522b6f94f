"""Validation between epochs goes on past broken videos and counts without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sta.report import read_scores

from .tiny import Tiny, run_tool

VALIDATION = """
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="VideoListDataset",
        ann_file={list!r},
        data_prefix=dict(video={videos!r}),
        num_classes=7,
        pipeline={{{{_base_.test_pipeline}}}},
        test_mode=True,
    ),
)
val_cfg = dict(type="SoundVideosValLoop")
val_evaluator = dict(type="AccMetric")
"""


def test_broken_videos_are_left_out_and_counted(
    tiny: Tiny,
    tmp_path: Path,
    child: Callable[..., Path],
    capsys: pytest.CaptureFixture,
) -> None:
    """Two of nine are broken, one batch of two entirely; the accuracy is that of the seven."""
    for i in range(2):
        (tmp_path / f'broken {i}.mp4').write_bytes(b'not a video' * 50)
    lines = [f'{name} {label}' for name, label in zip(tiny.names, tiny.labels, strict=True)]
    broken = [f'{tmp_path}/broken {i}.mp4 0' for i in range(2)]
    listed = tmp_path / 'list.txt'
    listed.write_text('\n'.join([*lines[:2], *broken, *lines[2:]]) + '\n')
    text = VALIDATION.format(list=str(listed), videos=str(tiny.folder / 'videos'))
    folder = tmp_path / 'run'
    assert run_tool('train', child(text, tiny.training), '--work-dir', folder) == 0
    captured = capsys.readouterr()
    logged = (captured.out + captured.err).split('Epoch(val) [2]')[-1]
    assert '2 validation videos could not be decoded' in captured.out + captured.err
    accuracy = float(logged.split('acc/top1: ')[1].split()[0])
    arguments = ('--schedules', '0', '--work-dir', tmp_path / 'test')
    assert run_tool('test', tiny.one_view, folder / 'epoch_2.pth', *arguments) == 0
    found = read_scores(tmp_path / 'test' / 'scores.npz')
    assert len(found.labels) == 7
    assert accuracy == pytest.approx(np.mean(found.scores[0].argmax(1) == found.labels), abs=1e-3)
