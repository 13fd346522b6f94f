"""The schedule that was found against the paper's, on videos that were not searched on."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sta.engine.run_folder import choose_folder
from sta.engine.session import build_test_runner
from sta.evaluation import EvaluationResult, paired_change, top_k_correct

from .space import Stages


def compare(
    config: Config,
    checkpoint: str,
    out: Path,
    *,
    pruner: Mapping[str, Any],
    paper: Any,
    stages: Stages,
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
        heldout: list of the videos to compare on; None takes the config's.

    Returns:
        The result, and the folder in ``out`` that its scores are kept in.

    Raises:
        ConfigError, DataError, StoreError: see :func:`sta.engine.session.build_test_runner`.
    """
    config = copy.deepcopy(config)
    schedules = [dict(name='paper', schedule=paper), dict(name='searched', schedule=stages)]
    config.test_cfg.schedules, config.test_cfg.pruners = [0, *schedules], [dict(pruner)]
    if heldout is not None:
        config.test_dataloader.dataset.ann_file = str(heldout)
    digest = hashlib.sha256(json.dumps(stages).encode()).hexdigest()[:8]
    runner = build_test_runner(
        config,
        checkpoint,
        choose=lambda fingerprint: choose_folder(
            out, fingerprint, work_dir=out / f'heldout_{digest}', resume=None
        ),
    )
    return runner.test(), runner.test_loop.folder.path


def difference_line(result: EvaluationResult) -> str:
    """The schedule found against the paper's, in a line."""
    paper, searched = (top_k_correct(v.scores, result.labels, 1) for v in result.variants[-2:])
    change = paired_change(paper, searched)
    return (
        f"searched against the paper's schedule at the same cost, {len(result.labels)} held-out "
        f'videos: {change.points:+.2f} points of top-1, paired 95 % interval {change.low:+.2f} to '
        f'{change.high:+.2f}, McNemar p {change.p_value:.3f}'
    )
