"""The schedule that was found against the paper's, on videos that were not searched on if any."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from sta.engine.run_folder import choose_folder
from sta.engine.session import build_test_runner
from sta.evaluation import EvaluationResult, paired_change, top_k_correct

from .space import Stages
from .videos import SearchVideos


def compare(
    config: Config,
    checkpoint: str,
    out: Path,
    *,
    pruner: Mapping[str, Any],
    paper: Any,
    stages: Stages,
    videos: SearchVideos,
    heldout: Path | None,
) -> tuple[EvaluationResult, Path]:
    """Evaluate no pruning, the paper's schedule and the one found.

    Args:
        config: as it was searched for.
        checkpoint: weights.
        out: folder of the search.
        pruner: settings.
        paper: the paper's schedule of the same cost.
        stages: the schedule found.
        videos: that were searched on, and the others.
        heldout: list of the others; None where that is the config's.

    Returns:
        The result, and the folder in ``out`` that its scores are kept in.

    Raises:
        ConfigError, DataError, StoreError: see :func:`sta.engine.session.build_test_runner`.
    """
    config = copy.deepcopy(config)
    schedules = [dict(name='paper', schedule=paper), dict(name='searched', schedule=stages)]
    config.test_cfg.schedules, config.test_cfg.pruners = [0, *schedules], [dict(pruner)]
    if heldout is not None and not videos.compares_all:
        config.test_dataloader.dataset.ann_file = str(heldout)
    digest = hashlib.sha256(json.dumps(stages).encode()).hexdigest()[:8]
    kind = 'compared' if videos.compares_all and videos.searched else 'heldout'
    runner = build_test_runner(
        config,
        checkpoint,
        choose=lambda fingerprint: choose_folder(
            out, fingerprint, work_dir=out / f'{kind}_{digest}', resume=None
        ),
    )
    result, folder = runner.test(), runner.test_loop.folder.path
    part = f'{_searched(result, videos).sum()} of them searched on' if kind == 'compared' else ''
    return dataclasses.replace(result, part=part), folder


def difference_lines(result: EvaluationResult, videos: SearchVideos) -> list[str]:
    """The schedule found against the paper's: on all, and where some were searched on, the rest."""
    own = _searched(result, videos)
    if not own.any():
        return [_difference_line(result, ~own, 'held-out videos')]
    number = 'all' if own.all() else f'{own.sum()}'
    lines = [_difference_line(result, own | True, f'videos, {number} of them searched on')]
    return lines if own.all() else [*lines, _difference_line(result, ~own, 'held-out videos')]


def _searched(result: EvaluationResult, videos: SearchVideos) -> np.ndarray:
    """(videos,) bool, which of the evaluated ones were searched on."""
    return np.array([name in videos.files for name in result.names])


def _difference_line(result: EvaluationResult, chosen: np.ndarray, what: str) -> str:
    paper, searched = (top_k_correct(v.scores, result.labels, 1) for v in result.variants[-2:])
    change = paired_change(paper[chosen], searched[chosen])
    sure = 'too few videos for an interval'
    if change.low is not None:
        sure = (
            f'paired 95 % interval {change.low:+.2f} to {change.high:+.2f}, McNemar p '
            f'{change.p_value:.3f}'
        )
    return (
        f"searched against the paper's schedule at the same cost, {chosen.sum()} {what}: "
        f'{change.points:+.2f} points of top-1, {sure}'
    )
