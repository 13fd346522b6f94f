"""Read back what an evaluation left in its folder; nothing in there is trusted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sta.errors import DataError
from sta.evaluation import all_finite, top_k_correct

from .writers import Scores, read_scores


class Run(NamedTuple):
    """An evaluation as it lies on the disk.

    Attributes:
        scores: of every video under every variant.
        unpruned: name of the variant that drops nothing; None if none does or nobody says.
        class_list: what ``read_class_names`` takes, as the evaluation recorded it; None if not.
    """

    scores: Scores
    unpruned: str | None
    class_list: str | None


def config_title(config: str) -> str:
    """What plots and page of a config are called: its name, and its folder's where it has none.

    Args:
        config: path; tools/prepare_custom.py calls every one ``config.py``.
    """
    path = Path(config)
    return path.absolute().parent.name if path.stem == 'config' else path.stem


def read_run(folder: Path) -> Run:
    """Read scores.npz and, where there is one, results.json.

    Raises:
        DataError: no such folder, no scores.npz in it, or a file that is damaged or not ours.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'{folder} is not a folder: give one that tools/test.py wrote')
    path = folder / 'scores.npz'
    if not path.is_file():
        raise DataError(f'{folder} holds no scores.npz: give a folder that tools/test.py wrote')
    try:
        scores = read_scores(path)
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged files
        raise DataError(f'{path} cannot be read: {error or type(error).__name__}') from None
    if fault := _fault(scores):
        raise DataError(f'{path} is damaged or not from tools/test.py: {fault}')
    scores = scores._replace(labels=scores.labels.astype(np.int64))
    found = _read_json(folder / 'results.json')
    return Run(scores, _unpruned(found, scores.variants), _class_list(found))


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of results.json: name, pruner, gflops_per_view and averages are as documented.

    Raises:
        DataError: no results.json, or one that is damaged or not ours.
    """
    path = Path(folder) / 'results.json'
    rows = _dicts(_read_json(path).get('rows'))
    kinds = {'name': str, 'pruner': str, 'averages': list}
    sound = all(isinstance(row.get(key), kind) for row in rows for key, kind in kinds.items())
    sound = sound and all(is_number(row.get('gflops_per_view')) for row in rows)
    if not rows or not sound:
        raise DataError(f'{path} is missing or not from tools/test.py: it must hold the rows')
    return rows


def choose_pair(run: Run, asked: tuple[str, str] | None = None) -> tuple[int, int]:
    """Places of the two variants to compare.

    Args:
        run: from :func:`read_run`.
        asked: two names; default the variant that drops nothing, or else the first one, and the one
            of the others with the lowest top-1, of equals the last.

    Raises:
        DataError: fewer than two variants, an unknown one, or the same one twice.
    """
    variants, known = run.scores.variants, ', '.join(run.scores.variants)
    if len(variants) < 2:
        raise DataError(f'two variants are needed to compare; the scores are of {known} alone')
    if asked is not None:
        for name in asked:
            if name not in variants:
                raise DataError(f'no variant {name!r}; the scores are of {known}')
        if asked[0] == asked[1]:
            raise DataError(f'{asked[0]!r} cannot be compared with itself; there are {known}')
        return variants.index(asked[0]), variants.index(asked[1])
    first = variants.index(run.unpruned) if run.unpruned else 0
    others = [i for i in range(len(variants)) if i != first]
    correct = {i: _num_correct(run.scores, i) for i in others}
    return first, min(others, key=lambda i: (correct[i], -i))


def not_finite_counts(scores: Scores) -> dict[str, int]:
    """How many videos have scores that are NaN or infinite, by variant; those that have any."""
    failed = (~all_finite(scores.scores)).sum(1)
    return {name: int(count) for name, count in zip(scores.variants, failed) if count}


def is_number(value: Any) -> bool:
    """Whether a value out of a JSON file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def no_number(constant: str) -> Any:
    """For json.loads, which takes NaN and Infinity though JSON has neither.

    Raises:
        ValueError: always.
    """
    raise ValueError(f'it holds {constant}, which is no number of JSON')


def _num_correct(scores: Scores, variant: int) -> int:
    return int(top_k_correct(scores.scores[variant], scores.labels, 1).sum())


def _fault(found: Scores) -> str | None:
    """What keeps the arrays from being the scores of an evaluation."""
    scores, labels, variants = found.scores, found.labels, found.variants
    if scores.ndim != 3 or scores.dtype.kind != 'f':
        return f'scores are {scores.dtype} of shape {scores.shape}, not floats of three axes'
    if labels.dtype.kind not in 'iu' or labels.shape != scores.shape[1:2]:
        return f'labels are {labels.dtype} of shape {labels.shape}, scores of {scores.shape}'
    if len(variants) != len(scores) or not all(isinstance(name, str) for name in variants):
        return f'{len(variants)} names of variants for scores of {len(scores)}'
    if len(set(variants)) < len(variants):
        return f'two variants of one name among {", ".join(variants)}'
    if 0 in scores.shape:
        return f'there is nothing in scores of shape {scores.shape}'
    if labels.min() < 0 or labels.max() >= scores.shape[2]:
        span = f'{labels.min()} to {labels.max()}'
        return f'labels from {span}, scores of {scores.shape[2]} classes'
    return None


def _read_json(path: Path) -> dict[str, Any]:
    """What results.json says, an empty dict where it is absent: the scores are enough."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding='utf-8'), parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is damaged: {error}; without it, the scores are enough') from None
    return found if isinstance(found, dict) else {}


def _unpruned(found: dict[str, Any], variants: tuple[str, ...]) -> str | None:
    whole = {str(v.get('name')): v.get('num_tokens') for v in _dicts(found.get('variants'))}
    for row in _dicts(found.get('rows')):
        name = row.get('name')
        if row.get('cost_is_average'):
            continue
        if name in variants and name in whole and row.get('tokens_kept') == whole[name]:
            return name
    return 'unpruned' if 'unpruned' in variants else None


def _class_list(found: dict[str, Any]) -> str | None:
    environment = found.get('environment')
    recorded = environment.get('classes') if isinstance(environment, dict) else None
    return recorded if isinstance(recorded, str) and recorded else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
