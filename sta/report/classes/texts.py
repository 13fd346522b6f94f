"""Classes side by side as text: CSV and JSON of all of them, Markdown of what the screen shows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sta.evaluation import (
    ClassChange,
    ClassComparison,
    EvaluationResult,
    confusions_by_growth,
    top1_by_class,
)

from ..texts import markdown_table
from .tables import Texts, change_texts, confusion_texts

FIELDS = (
    'label',
    'name',
    'videos',
    'before_percent',
    'after_percent',
    'change_points',
    'correct_before',
    'correct_after',
    'lost',
    'gained',
    'p_value',
    'adjusted_p',
)
UNITS = 'per cent and points of top-1; p: exact McNemar, adjusted by Benjamini and Hochberg'


def comparison_csv(comparison: ClassComparison) -> str:
    """A line per class, by label; nothing where undefined."""
    return _csv(FIELDS, [list(_figures(change).values()) for change in comparison.changes])


def comparison_json(comparison: ClassComparison, facts: Mapping[str, Any]) -> str:
    """Every class and every confusion that occurs, those that grew most first; strict JSON.

    Args:
        comparison: of two variants.
        facts: how it was made.
    """
    confusions = confusions_by_growth(comparison.matrix_before, comparison.matrix_after)
    without = dict(zip(('before', 'after'), comparison.unpredicted, strict=True))
    found = {
        'environment': facts,
        'units': UNITS,
        'before': comparison.before,
        'after': comparison.after,
        'videos_with_scores_that_are_no_numbers': without,
        'total': _figures(comparison.total),
        'classes': [_figures(change) for change in comparison.changes],
        'confusions': [confusion._asdict() for confusion in confusions],
    }
    return json.dumps(found, indent=2, allow_nan=False) + '\n'


def comparison_markdown(
    comparison: ClassComparison, facts: Mapping[str, Any], pictures: Sequence[str], *, top: int
) -> str:
    """The tables of the screen and the pictures for GitHub.

    Args:
        comparison: of two variants.
        facts: as of :func:`comparison_json`.
        pictures: addresses of pictures beside the file.
        top: classes from either end, and confusions.
    """
    lines = []
    for texts in (change_texts(comparison, top), confusion_texts(comparison, top)):
        lines += _markdown(texts)
    lines += [f'![]({picture})' for picture in pictures]
    return '\n'.join([*lines, '', '```', facts['command'], '```']) + '\n'


def variants_csv(result: EvaluationResult, class_names: Sequence[str]) -> str:
    """A line per class with its top-1 under every variant, by label; nothing where undefined."""
    # 'top1_percent:', because a variant may be called 'name'
    heads = [f'top1_percent:{v.variant.name}' for v in result.variants]
    columns = [top1_by_class(v.scores, result.labels) for v in result.variants]
    videos = np.bincount(result.labels, minlength=len(class_names)).tolist()
    rows = zip(range(len(class_names)), class_names, videos, *columns, strict=True)
    return _csv(('label', 'name', 'videos', *heads), [list(row) for row in rows])


def _figures(change: ClassChange) -> dict[str, Any]:
    return {field: getattr(change, field) for field in FIELDS}


def _markdown(texts: Texts) -> list[str]:
    headings = [texts.first, *(head.replace('\n', ' ').strip() for head in texts.columns)]
    table = markdown_table(headings, [texts.names, *texts.columns.values()])
    return [f'**{texts.title}**', '', *table, '', *([texts.caption, ''] if texts.caption else [])]


def _csv(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator='\n')
    table.writerow(heads)
    table.writerows(rows)  # None is written as an empty field
    return buffer.getvalue()
