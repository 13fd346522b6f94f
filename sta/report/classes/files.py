"""Classes side by side as files: CSV, JSON, Markdown and pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zlib import crc32

from sta.atomic import write_text
from sta.evaluation import ClassComparison, EvaluationResult

from ..plot import save_figure
from .bars import plot_class_changes
from .matrices import plot_confusions
from .texts import comparison_csv, comparison_json, comparison_markdown, variants_csv

MOST_CHARACTERS = 80  # of a variant's name in the name of a file, which holds 255 bytes


def write_comparison(
    comparison: ClassComparison, folder: Path, facts: Mapping[str, Any], *, top: int
) -> list[Path]:
    """Write classes_A_vs_B.csv, .json, .md and both pictures, each whole or not at all.

    Args:
        comparison: of variants A and B.
        folder: where to; made when missing, an older comparison of the same two is replaced.
        facts: how it was made; ``command`` among it.
        top: classes from either end, and confusions, in Markdown and pictures.

    Returns:
        What was written.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    pair = f'{in_file_name(comparison.before)}_vs_{in_file_name(comparison.after)}'
    bars = save_figure(plot_class_changes(comparison, top=top), folder, f'classes_{pair}')
    confusions = save_figure(plot_confusions(comparison, top=top), folder, f'confusions_{pair}')
    addresses = [quote(png.name) for png, _ in (bars, confusions)]
    texts = {
        'csv': comparison_csv(comparison),
        'json': comparison_json(comparison, facts),
        'md': comparison_markdown(comparison, facts, addresses, top=top),
    }
    paths = {kind: folder / f'classes_{pair}.{kind}' for kind in texts}
    for kind, text in texts.items():
        write_text(paths[kind], text)
    return [*paths.values(), *bars, *confusions]


def write_classes(
    result: EvaluationResult, folder: Path, class_names: Sequence[str] | None = None
) -> Path:
    """Write classes.csv: label, name, videos and top-1 under every variant, a line per class.

    Args:
        result: what an evaluation found.
        folder: where to; made when missing.
        class_names: by label; default 'class 17' and so on.

    Returns:
        Path of the file.

    Raises:
        OSError: the folder cannot be written.
        ValueError: not as many names as the scores have classes.
    """
    num_classes = result.variants[0].scores.shape[1]
    names = numbered_names(num_classes) if class_names is None else tuple(class_names)
    if len(names) != num_classes:
        raise ValueError(f'{len(names)} names of classes, scores of {num_classes}')
    path = Path(folder) / 'classes.csv'
    write_text(path, variants_csv(result, names))
    return path


def numbered_names(num_classes: int) -> tuple[str, ...]:
    """'class 0' and so on, where nobody says what the classes are called."""
    return tuple(f'class {label}' for label in range(num_classes))


def in_file_name(variant: str) -> str:
    """A variant's name without what file systems refuse; still another one for another variant."""
    safe = re.sub(r'[^\w.,=+\[\]-]', '_', variant, flags=re.ASCII)[:MOST_CHARACTERS]
    return safe if safe == variant else f'{safe}-{crc32(variant.encode()):08x}'
