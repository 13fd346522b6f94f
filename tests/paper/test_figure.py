"""Figure 5: the published points, and ours where speed and accuracy are both known."""

from __future__ import annotations

from dataclasses import replace

from sta.paper.figure import plot_fig5, points
from sta.paper.results import FilledTable


def with_ours(table: FilledTable) -> FilledTable:
    """Speeds 10, 20, ... and STA accuracies of the first two rows."""
    rows = []
    for i, (cost, speed, sta, random) in enumerate(table.cells):
        sta = sta._replace(ours=85.0 - i, needs='') if i < 2 else sta
        rows.append((cost, speed._replace(ours=10.0 * (i + 1), needs=''), sta, random))
    return replace(table, cells=tuple(rows))


def test_points(filled: dict[str, FilledTable]) -> None:
    published, ours = points(filled['fig5'], 2)
    assert published[0] == (19, 85.1) and published[-1] == (83, 83.3) and len(published) == 7
    assert ours == []
    random, _ = points(filled['fig5'], 3)
    assert random[0] == (25, 84.9) and len(random) == 6
    assert points(with_ours(filled['fig5']), 2)[1] == [(10.0, 85.0), (20.0, 84.0)]


def test_lines(filled: dict[str, FilledTable]) -> None:
    labels = [line.get_label() for line in plot_fig5(filled['fig5']).axes[0].lines]
    assert labels == ['STA, paper (V100)', 'random, paper (V100)']
    own = plot_fig5(with_ours(filled['fig5'])).axes[0].lines
    assert [line.get_label() for line in own] == [
        'STA, paper (V100)',
        'STA, ours',
        'random, paper (V100)',
    ]
    assert own[1].get_xydata().tolist() == [[10.0, 85.0], [20.0, 84.0]]


def test_an_empty_figure_says_so(filled: dict[str, FilledTable]) -> None:
    empty = tuple(
        tuple(cell._replace(cell=replace(cell.cell, published=None)) for cell in row)
        for row in filled['fig5'].cells
    )
    axes = plot_fig5(replace(filled['fig5'], cells=empty, is_smoke=True)).axes[0]
    assert axes.texts[0].get_text() == 'nothing measured yet'
