"""Classes are found by the names people give them, and no others."""

from __future__ import annotations

import pytest

from sta.datasets.annotations import OFFICIAL, ClassLookup, plain, read_class_names
from sta.errors import DataError

KINETICS = ClassLookup(read_class_names('kinetics400'), 'Kinetics-400')


@pytest.mark.parametrize(
    ('name', 'label'),
    [
        ('arm wrestling', 6),
        ('arm_wrestling', 6),
        ('Arm-Wrestling ', 6),
        ('ARM  WRESTLING', 6),
        ('hurling_-sport-', 161),  # as mmaction2's rename_classnames.sh writes it
        ('hurling (sport)', 161),
        ("massaging person's head", 196),
        ('arm', None),
        ('armwrestling', None),
        ('', None),
    ],
)
def test_spellings(name, label) -> None:
    assert KINETICS.find(name) == label


@pytest.mark.parametrize('official', OFFICIAL)
def test_no_two_official_names_are_taken_for_each_other(official) -> None:
    names = read_class_names(official)
    lookup = ClassLookup(names, official)
    assert lookup.labels([name.upper().replace(' ', '_') for name in names], '') == list(
        range(len(names))
    )


def test_names_that_differ_in_punctuation_only() -> None:
    lookup = ClassLookup(['a_b', 'a b', 'ä'], 'mine')
    assert [lookup.find(name) for name in ('a_b', 'a b', 'A-B', 'Ä')] == [0, 1, 0, 2]


def test_unknown_names_are_counted_once() -> None:
    names = ['zumba', 'arm wrestlin', 'b1', 'b2', 'b3', 'b1', 'arm wrestlin']
    with pytest.raises(DataError) as error:
        KINETICS.labels(names, 'val.csv')
    assert str(error.value).startswith('val.csv: 4 of 5 class names are not among the 400 of Kin')
    assert "'arm wrestlin' (is it 'arm wrestling'?), 'b1'" in str(error.value)
    assert str(error.value).endswith('and 1 more')


def test_plain() -> None:
    assert plain('  Turning_ON (a  Lamp)! ') == 'turning on a lamp'
