"""The classes a model finds in a video, variant by variant."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.table import Table

from .console import table_of_texts


class Guess(NamedTuple):
    """One class a variant takes a video for.

    Attributes:
        video: path.
        variant: name.
        rank: 1 for the likeliest.
        label: of the class.
        name: of the class.
        score: softmax averaged over views, 0 to 1.
    """

    video: str
    variant: str
    rank: int
    label: int
    name: str
    score: float


def best_guesses(
    video: str, variants: Sequence[str], scores: np.ndarray, names: Sequence[str], top: int
) -> list[Guess]:
    """The likeliest classes under every variant; of equal scores the lower label comes first.

    Args:
        video: path.
        variants: names of the V variants.
        scores: (V, classes).
        names: of the classes, by label.
        top: classes per variant, fewer where there are fewer.
    """
    order = np.argsort(-scores, axis=1, kind='stable')[:, :top]
    return [
        Guess(video, variant, rank, int(label), names[label], float(scores[i, label]))
        for i, variant in enumerate(variants)
        for rank, label in enumerate(order[i], 1)
    ]


def guesses_table(guesses: Sequence[Guess]) -> Table:
    """One video's guesses: a line per rank, a column per variant."""
    variants = list(dict.fromkeys(guess.variant for guess in guesses))
    columns = [
        [f'{guess.name} {100 * guess.score:.1f} %' for guess in guesses if guess.variant == variant]
        for variant in variants
    ]
    ranks = [str(guess.rank) for guess in guesses if guess.variant == variants[0]]
    return table_of_texts(
        'rank', ranks, [f'\n{v}' for v in variants], columns, guesses[0].video, ''
    )


def guesses_csv(guesses: Sequence[Guess]) -> str:
    """A line per guess."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator='\n')
    table.writerow(Guess._fields)
    table.writerows(guesses)
    return buffer.getvalue()
