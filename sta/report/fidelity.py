"""Fidelity of variants to the whole model: on the screen, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from sta.atomic import write_text
from sta.evaluation import FEWEST_VIDEOS, Fidelity

from .table import (
    TOO_FEW,
    Column,
    Table,
    columns_of,
    counted,
    decimals,
    intervals,
    json_text,
    scaled,
)

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


def _interval(row: FidelityRow) -> Any:
    found = row.fidelity
    return TOO_FEW if row.num_videos < FEWEST_VIDEOS else (found.cosine_low, found.cosine_high)


COLUMNS: tuple[Column[FidelityRow], ...] = (
    Column('name', 'variant'),
    Column('gflops_per_view', 'GFLOPs\n/view', scaled),
    Column('top1_percent', 'top-1\n%', decimals(2)),
    *columns_of(['class_name', 'num_videos']),
    Column('cosine', '\ncosine', decimals(3), attrgetter('fidelity.cosine')),
    Column('', '95 %\ninterval', lambda pairs: intervals(pairs, 3, sign=''), _interval),
    *(
        column.of(attrgetter('fidelity'))
        for column in (
            *columns_of(['cosine_low', 'cosine_high']),
            Column('cosine_unshifted', 'un-\nshifted', decimals(3)),
            Column('agreement_percent', 'agrees\n%', decimals(2)),
            Column('divergence_nats', 'KL\nnats', decimals(3)),
            Column('moving_kept_percent', 'moving\nkept %', decimals(1)),
            Column('still_kept_percent', 'still\nkept %', decimals(1)),
        )
    ),
)


def fidelity_table(rows: Sequence[FidelityRow], *, title: str, still: float) -> Table[FidelityRow]:
    """Fidelity of every variant over all videos."""
    note = f'{counted(rows[0].num_videos, "video")}. {NOTE} Still: below {still:g}.'
    return Table(COLUMNS, rows, title, note)


def write_fidelity(
    rows: Sequence[FidelityRow],
    by_class: Sequence[FidelityRow],
    folder: Path,
    facts: Mapping[str, Any],
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
    table = Table(COLUMNS, rows)
    texts = {
        'fidelity.csv': table.csv(),
        'fidelity_classes.csv': Table(COLUMNS, by_class).csv(),
        'fidelity.json': json_text({**facts, 'rows': table.records()}),
    }
    for name, text in texts.items():
        write_text(Path(folder) / name, text)
    return [Path(folder) / name for name in texts]
