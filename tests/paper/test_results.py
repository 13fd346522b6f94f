"""What a cell says: published, ours, the difference, or what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sta.evaluation import SummaryRow
from sta.paper import Cell, Column, Row, Table, build_tables
from sta.paper.experiment import Experiment
from sta.paper.findings import Filled, Findings
from sta.paper.inputs import Inputs
from sta.paper.results import STATISTICS_NOTE, FilledTable, fill_table, shown
from sta.paper.settings import random, setting_of, sta

UNPAIRED = (  # 100 sqrt(0.85 * 0.15 / 19881) = 0.2532
    'Unpaired, one top-1 on Kinetics-400 (19,881 videos, about 85 %) has a standard error of 0.25 '
    'points: without pairing, a drop of 0.2 means nothing.'
)
VIT_S = setting_of('ViT-S', 'k400')
ROW = SummaryRow('sta-64', 'sta', 672, (1056, 800, 672), 28.8, 432.0, 49.4, 78.05, 93.5, -0.7, 9.0)


def table_of(*cells: Cell, comparable: bool = True) -> Table:
    columns = tuple(Column(f'c{i}', comparable=comparable) for i in range(len(cells)))
    return Table('t', 'title', 'model', columns, (Row('ViT-S', cells),))


def fill(table: Table, findings: Findings, inputs: Inputs, is_smoke: bool = False) -> FilledTable:
    return fill_table(table, findings, inputs, is_smoke=is_smoke)


def test_an_accuracy_beside_the_published_one(nothing: Inputs) -> None:
    experiment = sta(VIT_S, 64)
    findings = Findings(accuracies={experiment: ROW}, footers={VIT_S.name: '9 videos'})
    table = fill(table_of(Cell(78.1, 'top1', experiment)), findings, nothing)
    assert table.cells[0][0].difference == pytest.approx(-0.05)
    assert shown(table) == (
        ['c0, paper', 'c0, ours', 'diff'],
        [['78.1'], ['78.05'], ['-0.05']],
    )
    assert table.notes() == [UNPAIRED, 'vit_s_k400_5x3: 9 videos']
    top5 = fill(table_of(Cell(None, 'top5', experiment)), findings, nothing)
    assert shown(top5) == (['c0, ours'], [['93.50']])


def test_what_is_missing_is_marked_and_numbered(nothing: Inputs) -> None:
    ssv2 = setting_of('ViT-S', 'ssv2')
    cells = (
        Cell(78.8, 'top1', sta(VIT_S, 0)),
        Cell(66.8, 'top1', sta(ssv2, 0)),
        Cell(78.1, 'top1', sta(VIT_S, 64)),
        Cell(19, 'clips_per_s', sta(VIT_S, 0)),
        Cell(5.1, 'trajectory_sum', sta(VIT_S, 0)),
        Cell(28, 'training', sta(VIT_S, 0)),
        Cell(80.7),
    )
    table = fill(table_of(*cells), Findings(trajectory_needs='Eq. 6'), nothing)
    headings, columns = shown(table)
    assert 'diff' not in headings
    assert [column[0] for column in columns[1::2]] == ['[1]', '[2]', '[1]', '[3]', '[4]', '[5]']
    assert columns[-1] == ['80.7']
    assert table.notes() == [
        '[1] needs K400 + vit_s_k400.pth',
        '[2] needs SSV2 + vit_s_ssv2.pth',
        '[3] needs --throughput',
        '[4] needs K400 + vit_s_k400.pth + Eq. 6',
        '[5] needs training',
        UNPAIRED,
    ]


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    listed = tmp_path / 'kinetics400/kinetics400_val_list_videos.txt'
    inputs = Inputs(tmp_path, {'vit_s_ssv2': tmp_path}, tmp_path)
    assert inputs.missing(VIT_S) == 'K400 + vit_s_k400.pth'
    assert inputs.missing(setting_of('ViT-S', 'ssv2')) == 'SSV2'
    listed.parent.mkdir()
    listed.touch()
    assert inputs.missing(VIT_S) == 'vit_s_k400.pth'
    assert replace(inputs, checkpoints={'vit_s_k400': tmp_path}).missing(VIT_S) == ''


def test_measured_speeds_and_sums(nothing: Inputs) -> None:
    experiment = sta(VIT_S, 0)
    findings = Findings(speeds={experiment: 30.0}, trajectory_sums={experiment: 5.2})
    speed = fill(table_of(Cell(19, 'clips_per_s', experiment), comparable=False), findings, nothing)
    assert shown(speed) == (['c0, paper', 'c0, ours'], [['19'], ['30.00']])
    total = fill(table_of(Cell(5.1, 'trajectory_sum', experiment)), findings, nothing)
    assert shown(total)[1] == [['5.1'], ['5.20'], ['+0.10']]


def test_a_smoke_table_says_so_and_compares_nothing(nothing: Inputs) -> None:
    experiment = sta(VIT_S, 64)
    findings = Findings(accuracies={experiment: ROW})
    table = fill(table_of(Cell(None, 'top1', experiment)), findings, nothing, is_smoke=True)
    assert shown(table) == (['c0, SMOKE'], [['78.05']])


def test_statistics_are_shown_where_there_are_any(nothing: Inputs) -> None:
    experiment: Experiment = random(VIT_S, 64)
    plain = fill(
        table_of(Cell(78.1, 'top1', experiment)), Findings(accuracies={experiment: ROW}), nothing
    )
    assert plain.statistics() == []
    row = replace(ROW, top1_change_low=-1.25, top1_change_high=-0.1, p_value=0.0123)
    cells = (Cell(78.1, 'top1', experiment), Cell(None, 'top5', experiment))
    table = fill(table_of(*cells), Findings(accuracies={experiment: row}), nothing)
    line = 'ViT-S, c0: -0.70 [-1.25, -0.10], p = 0.012'
    assert table.statistics() == [STATISTICS_NOTE, line]
    assert table.notes() == [UNPAIRED, STATISTICS_NOTE, line]
    whole = replace(row, pruner='', name='unpruned')
    unpruned = fill(table_of(*cells), Findings(accuracies={experiment: whole}), nothing)
    assert unpruned.statistics() == []  # against itself


def test_tables_without_an_accuracy_on_kinetics_say_nothing_of_it(nothing: Inputs) -> None:
    ssv2 = Cell(66.8, 'top1', sta(setting_of('ViT-S', 'ssv2'), 0))
    for cells in ((ssv2,), (Cell(80.7),), (Cell(None, 'top1', sta(VIT_S, 0)),)):
        assert fill(table_of(*cells), Findings(), nothing).unpaired() == []


def test_no_negative_zero() -> None:
    from sta.paper.results import difference_text

    assert difference_text(Filled(Cell(1.0), 0.999), Column('x')) == '+0.00'
    assert difference_text(Filled(Cell(1.0), 'words'), Column('x')) == ''


def test_every_published_number_appears_in_a_cell() -> None:
    """Counted by hand from the lists: rows x columns of every table."""
    expected = {
        'table1': 4 * 3,
        'table2': 16 * 2 + 8,
        'table3': 12 * 2 + 4 * 2,
        'table4': 11 * 2,
        'table5': 8 * 2,
        'table6a': 4 * 2,
        'table6b': 5 * 2,
        'table6c': 5 * 2,
        'table6d': 4 * 3,
        'table6e': 3 * 3,
        'fig5': 7 * 3 - 1,
        'supp1': 2 * 3,
        'supp2': 5 * 4,
        'supp3': 6 * 2,
    }
    found = {
        table.name: sum(cell.published is not None for cell in table.cells())
        for table in build_tables(['all'])
    }
    assert found == expected
