"""Fidelity of variants to the whole model: on the screen, as CSV and as JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from sta.atomic import write_text
from sta.evaluation import FEWEST_VIDEOS, Fidelity

from .columns import TOO_FEW, counted, fixed, scaled
from .console import table_of_texts

NOTE = (
    'cosine: of the pooled features with and without pruning, centred by the mean over all videos, '
    'with its paired 95 % bootstrap interval; unshifted: the pruned ones centred by their own '
    'mean, without the shift that all videos share. agrees: videos whose top class is that of '
    'the whole model. KL: divergence of the prediction from that, in nats. moving, still: '
    'tubelets that change or stand still against the one before (mean absolute difference of '
    'normalised pixels) and are left after the last stage; merged tokens count as gone.'
)


class FidelityRow(NamedTuple):
    """A line of the table.

    Attributes:
        name: of the variant.
        gflops_per_view: 1e9 multiply-accumulates; None where they depend on the clip.
        top1_percent: against the labels.
        fidelity: against the whole model.
        class_name: of the videos it is over; '' for all.
        num_videos: these.
    """

    name: str
    gflops_per_view: float | None
    top1_percent: float
    fidelity: Fidelity
    class_name: str = ''
    num_videos: int = 0


def fidelity_table(rows: Sequence[FidelityRow], *, title: str, still: float) -> Table:
    """Fidelity of every variant over all videos."""
    found = [row.fidelity for row in rows]
    columns = {
        'GFLOPs\n/view': scaled([row.gflops_per_view for row in rows]),
        'top-1\n%': fixed([row.top1_percent for row in rows], 2),
        '\ncosine': fixed([f.cosine for f in found], 3),
        '95 %\ninterval': [TOO_FEW] * len(rows)
        if rows[0].num_videos < FEWEST_VIDEOS
        else _spans([(f.cosine_low, f.cosine_high) for f in found]),
        'un-\nshifted': fixed([f.cosine_unshifted for f in found], 3),
        'agrees\n%': fixed([f.agreement_percent for f in found], 2),
        'KL\nnats': fixed([f.divergence_nats for f in found], 3),
        'moving\nkept %': fixed([f.moving_kept_percent for f in found], 1),
        'still\nkept %': fixed([f.still_kept_percent for f in found], 1),
    }
    note = f'{counted(rows[0].num_videos, "video")}. {NOTE} Still: below {still:g}.'
    names = [row.name for row in rows]
    return table_of_texts('variant', names, list(columns), list(columns.values()), title, note)


def write_fidelity(
    rows: Sequence[FidelityRow], by_class: Sequence[FidelityRow], folder: Path, facts: Mapping
) -> list[Path]:
    """Write fidelity.csv, fidelity_classes.csv and fidelity.json, each whole or not at all.

    Args:
        rows: over all videos.
        by_class: the same for every class.
        folder: where to; made when missing.
        facts: how it was made.

    Raises:
        OSError: the folder cannot be written.
    """
    texts = {
        'fidelity.csv': _csv(rows),
        'fidelity_classes.csv': _csv(by_class),
        'fidelity.json': json.dumps(
            {**facts, 'rows': [_flat(row) for row in rows]}, indent=2, allow_nan=False
        )
        + '\n',
    }
    for name, text in texts.items():
        write_text(Path(folder) / name, text)
    return [Path(folder) / name for name in texts]


def _spans(pairs: Sequence[tuple[float, float]]) -> list[str]:
    """Intervals of a number without a sign of its own, three decimals."""
    lows, highs = (fixed([pair[end] for pair in pairs], 3) for end in (0, 1))
    return [f'{low}..{high}' for low, high in zip(lows, highs, strict=True)]


def _csv(rows: Sequence[FidelityRow]) -> str:
    buffer = io.StringIO()
    flat = [_flat(row) for row in rows]
    table = csv.DictWriter(buffer, list(flat[0]), lineterminator='\n')
    table.writeheader()
    table.writerows(flat)
    return buffer.getvalue()


def _flat(row: FidelityRow) -> dict[str, Any]:
    """One level of names; None for what is undefined."""
    values = {**row._asdict(), **dataclasses.asdict(row.fidelity)}
    del values['fidelity']
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
