"""An evaluation as files: JSON and CSV for programs, Markdown for people, scores for statistics."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sta import __version__
from sta.evaluation import EvaluationResult, SummaryRow, summarise
from sta.installed import distribution_version

from .atomic import replacing, write_text
from .columns import COLUMNS, GFLOP_NOTE, footer

LIBRARIES = ('torch', 'numpy', 'mmaction2', 'mmengine', 'mmcv', 'mmcv-lite', 'decord')


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
    result: EvaluationResult, folder: Path, *, command: str, config: str, checkpoint: str
) -> dict[str, Path]:
    """Write results.json, results.csv, results.md and scores.npz, each whole or not at all.

    Args:
        result: what was found.
        folder: where to; made when missing, older results are replaced.
        command: the command line that made it.
        config: path of the config.
        checkpoint: path of the weights.

    Returns:
        The four paths by file name.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    rows = summarise(result)
    made = {'command': command, 'config': config, 'checkpoint': checkpoint}
    facts = {**made, **_environment(result)}
    texts = {
        'results.json': _json_text(result, rows, facts),
        'results.csv': _csv_text(rows),
        'results.md': _markdown_text(rows, footer(result), facts),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    _write_scores(result, folder / 'scores.npz')
    return {name: folder / name for name in (*texts, 'scores.npz')}


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
        'time_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'num_videos': len(result.labels),
        'views_per_video': result.views,
        'precision': result.precision,
        'hardware': result.hardware,
        'wall_s': result.wall_s,
        'wait_share': result.wait_share,
        'versions': {'sta': __version__, 'python': platform.python_version(), **versions},
    }


def _json_text(result: EvaluationResult, rows: Sequence[SummaryRow], facts: Mapping) -> str:
    variants = [
        {
            'name': v.variant.name,
            'pruner': v.variant.pruner,
            'schedule': v.variant.schedule,
            'num_tokens': v.cost.num_tokens,
            'num_parameters': v.cost.num_parameters,
        }
        for v in result.variants
    ]
    found = {'environment': facts, 'units': GFLOP_NOTE, 'variants': variants, 'rows': rows}
    return json.dumps(_plain(found), indent=2, allow_nan=False) + '\n'


def _plain(value: Any) -> Any:
    """Nested settings as JSON knows them; NaN and infinity, which it does not, become null."""
    if dataclasses.is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _csv_text(rows: Sequence[SummaryRow]) -> str:
    names = [field.name for field in dataclasses.fields(SummaryRow)]
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator='\n')
    table.writerow(names)
    for row in _plain(list(rows)):
        row['tokens_after_stages'] = ' '.join(map(str, row['tokens_after_stages']))
        table.writerow([row[name] for name in names])  # None is written as an empty field
    return buffer.getvalue()


def _markdown_text(rows: Sequence[SummaryRow], note: str, facts: Mapping[str, Any]) -> str:
    lines = [
        _markdown_row(['variant', *(column.heading for column in COLUMNS)]),
        _markdown_row(['---', *('---:' for _ in COLUMNS)]),
    ]
    names = [row.name.replace('\\', '\\\\').replace('|', '\\|') for row in rows]
    columns = [column.cells(rows) for column in COLUMNS]
    lines += [_markdown_row(cells) for cells in zip(names, *columns, strict=True)]
    versions = ', '.join(f'{k} {v}' for k, v in facts['versions'].items() if v is not None)
    lines += ['', note, '', f'Config `{facts["config"]}`, checkpoint `{facts["checkpoint"]}`,']
    lines += [f'{facts["time_utc"]}; {versions}.', '', '```', facts['command'], '```']
    return '\n'.join(lines) + '\n'


def _markdown_row(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
