"""An evaluation as files: JSON and CSV for programs, Markdown for people, scores for statistics."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sta import __version__
from sta.atomic import replacing, write_text
from sta.environment import commit_of, distribution_version
from sta.evaluation import EvaluationResult, summarise

from .texts import csv_text, json_text, left_out_text, markdown_text

LIBRARIES = ('torch', 'numpy', 'mmaction2', 'mmengine', 'mmcv', 'mmcv-lite', 'av', 'decord')


class Scores(NamedTuple):
    """What scores.npz holds.

    Attributes:
        variants: names of the V variants.
        scores: (V, videos, classes) float32, softmax averaged over a video's views.
        labels: (videos,) int64.
        names: file name of each video.
    """

    variants: tuple[str, ...]
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]


def write_results(
    result: EvaluationResult,
    folder: Path,
    *,
    command: str,
    config: str,
    checkpoint: str,
    annotations: str | None = None,
    fingerprint: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Write results.json, .csv and .md, scores.npz and left_out.csv, each whole or not at all.

    Args:
        result: what was found.
        folder: where to; made when missing, older results are replaced.
        command: the command line that made it.
        config: path of the config.
        checkpoint: path of the weights.
        annotations: path of the list of videos; None where nobody says.
        fingerprint: digests of weights, videos, pipeline and so on, see
            :func:`sta.engine.run_folder.fingerprint_of`; None where nobody says.

    Returns:
        The paths by file name; left_out.csv only where a video was left out.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    rows = summarise(result)
    made: dict[str, Any] = {'command': command, 'config': config, 'checkpoint': checkpoint}
    made |= {'annotations': annotations, 'fingerprint': dict(fingerprint or {})}
    facts = {**made, **_environment(result)}
    texts = {
        'results.json': json_text(result, rows, facts),
        'results.csv': csv_text(rows),
        'results.md': markdown_text(result, rows, facts),
    }
    if result.left_out:
        texts['left_out.csv'] = left_out_text(result)
    paths = {name: folder / name for name in (*texts, 'scores.npz')}
    _write_scores(result, paths['scores.npz'])
    for name in reversed(texts):  # results.json last: where it is, everything is
        write_text(paths[name], texts[name])
    return paths


def read_scores(path: Path) -> Scores:
    """Read scores.npz without unpickling anything.

    Raises:
        OSError, KeyError, ValueError: no such file, or not one of ours.
    """
    with np.load(path, allow_pickle=False) as file:
        return Scores(
            variants=tuple(file['variants'].tolist()),
            scores=file['scores'],
            labels=file['labels'],
            names=tuple(file['names'].tolist()),
        )


def _write_scores(result: EvaluationResult, path: Path) -> None:
    with replacing(path) as temporary, temporary.open('wb') as file:
        np.savez_compressed(
            file,
            variants=np.array([v.variant.name for v in result.variants], dtype=np.str_),
            scores=np.stack([v.scores for v in result.variants]).astype(np.float32),
            labels=np.asarray(result.labels, dtype=np.int64),
            names=np.array(result.names, dtype=np.str_),
        )


def _environment(result: EvaluationResult) -> dict[str, Any]:
    versions = {name: distribution_version(name) for name in LIBRARIES}
    return {
        'commit': commit_of(),
        'time_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'num_videos': len(result.labels),
        'classes': result.class_list,
        'num_listed': result.num_listed,
        'decoded_by': dict(result.decoded_by),
        'resumed': result.resumed,
        **({'part': result.part} if result.part else {}),
        'views_per_video': result.views,
        'precision': result.precision,
        'hardware': result.hardware,
        'wall_s': result.wall_s,
        'wait_share': result.wait_share,
        'versions': {'sta': __version__, 'python': platform.python_version(), **versions},
    }
