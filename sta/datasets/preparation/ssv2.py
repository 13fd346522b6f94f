"""Something-Something V2: labels.json and the json file of a split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from sta.errors import DataError

from ..class_names import read_class_names
from .class_lookup import ClassLookup
from .listed import is_list, read_list
from .tables import read_json
from .wanted import Annotations, Wanted, repeated, without_repeats

TITLE = 'Something-Something V2'


def read_ssv2(path: str | os.PathLike, labels: str | os.PathLike) -> Annotations:
    """Videos of a split.

    Args:
        path: json, a list of dicts with 'id' and 'template' ('Holding [something]'); or a list of
            'path label' lines.
        labels: json, {class name: id}; must be the official one.

    Raises:
        DataError: files of another form, unknown classes, labels in another order.
    """
    classes = ClassLookup(read_class_names('ssv2'), TITLE)
    check_labels(read_json(labels), classes.names, labels)
    if is_list(path):
        return read_list(path, classes)
    entries = read_json(path)
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        raise DataError(
            f'{path}: expected a list like [{{"id": "74225", "template": "Holding [something]"}}], '
            f'as in validation.json'
        )
    pairs = [_id_and_template(entry, i, path) for i, entry in enumerate(entries)]
    found = classes.labels((template for _, template in pairs), str(path))
    videos = [Wanted(f'{i}.webm', label, (i,)) for (i, _), label in zip(pairs, found)]
    wanted, excluded, num_repeats = without_repeats(videos)
    notes = repeated(num_repeats, path)
    return Annotations(str(path), classes.names, wanted, excluded, notes)


def check_labels(
    given: Any, official: Sequence[str], source: str | os.PathLike = 'labels.json'
) -> None:
    """Compare {class name: id} with the official names, which the checkpoints follow.

    Raises:
        DataError: it is of another form, or differs; says where.
    """
    if not isinstance(given, dict) or not all(_is_id(number) for number in given.values()):
        raise DataError(f'{source}: expected {{"class name": "id", ...}}, as in labels.json')
    ours = {name: label for label, name in enumerate(official)}
    theirs = {name.strip(): int(number) for name, number in given.items()}
    differences = _differences(theirs, ours)
    if differences:
        more = f' and {len(differences) - 3} more' if len(differences) > 3 else ''
        raise DataError(
            f'{source} has {len(theirs)} classes and differs from the {len(ours)} official ones, '
            f'which the published checkpoints follow: {"; ".join(differences[:3])}{more}'
        )


def _differences(theirs: Mapping[str, int], ours: Mapping[str, int]) -> list[str]:
    return [
        *(f'{name!r} is missing' for name in ours if name not in theirs),
        *(f'{name!r} is unknown' for name in theirs if name not in ours),
        *(
            f'{name!r} has id {theirs[name]} instead of {label}'
            for name, label in ours.items()
            if theirs.get(name, label) != label
        ),
    ]


def _is_id(number: Any) -> bool:
    return isinstance(number, str | int) and str(number).strip().isdigit()


def _id_and_template(entry: Any, place: int, path: str | os.PathLike) -> tuple[str, str]:
    """The video's id and its class name: the template without brackets."""
    if isinstance(entry, dict) and 'id' in entry and 'template' not in entry:
        raise DataError(
            f'{path}: entry {place} has no "template", as in test.json, which has no labels; give '
            f'validation.json'
        )
    if not isinstance(entry, dict) or not {'id', 'template'} <= set(entry):
        raise DataError(f'{path}: entry {place} is no dict with "id" and "template": {entry!r:.80}')
    template = str(entry['template']).replace('[', '').replace(']', '')
    return str(entry['id']), template.strip()
