"""The plot holds the numbers, read back from what it draws."""

from __future__ import annotations

import dataclasses

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from sta.evaluation import SummaryRow, summarise
from sta.report import plot_accuracy_vs_gflops, save_figure
from sta.report.plot import COLOURS

from .example import result


def plot(rows: list[SummaryRow] | None = None, title: str = '') -> Figure:
    rows = summarise(result()) if rows is None else rows
    return plot_accuracy_vs_gflops(rows, num_videos=300, title=title)


def lines_of(figure: Figure) -> dict[str, matplotlib.lines.Line2D]:
    lines = figure.axes[0].get_lines()
    return {line.get_label(): line for line in lines if not line.get_label().startswith('_')}


def test_one_line_per_family_with_its_points() -> None:
    lines = lines_of(plot())
    assert list(lines) == ['sta', 'random', 'tome', 'no pruning']
    for family in ('sta', 'random', 'tome'):
        rows = [row for row in summarise(result()) if row.pruner == family]
        rows = sorted(rows, key=lambda row: row.gflops_per_view)
        assert list(lines[family].get_xdata()) == [row.gflops_per_view for row in rows]
        assert list(lines[family].get_ydata()) == [row.top1_percent for row in rows]
        assert lines[family].get_linestyle() == '-'


def test_families_differ_in_colour_and_in_marker() -> None:
    lines = [line for name, line in lines_of(plot()).items() if name != 'no pruning']
    assert [to_hex(line.get_color()).upper() for line in lines] == list(COLOURS[:3])
    assert len({line.get_marker() for line in lines}) == 3


def test_ten_families_are_all_different() -> None:
    row = summarise(result())[1]
    rows = [
        dataclasses.replace(row, name=f'p{i}-32', pruner=f'p{i}', top1_percent=50.0 + i)
        for i in range(10)
    ]
    lines = lines_of(plot(rows)).values()
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 10


def test_the_unpruned_point_and_its_dashed_line() -> None:
    figure = plot()
    unpruned = summarise(result())[0]
    point = lines_of(figure)['no pruning']
    assert list(point.get_xdata()) == [unpruned.gflops_per_view]
    assert list(point.get_ydata()) == [unpruned.top1_percent]
    dashed = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == '--']
    assert [set(line.get_ydata()) for line in dashed] == [{unpruned.top1_percent}]


def test_bands_are_the_paired_intervals_around_the_unpruned_accuracy() -> None:
    figure = plot()
    rows = summarise(result())
    sta = sorted((r for r in rows if r.pruner == 'sta'), key=lambda row: row.gflops_per_view)
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    for row in sta:
        at = corners[np.isclose(corners[:, 0], row.gflops_per_view), 1]
        assert at.min() == pytest.approx(rows[0].top1_percent + row.top1_change_low)
        assert at.max() == pytest.approx(rows[0].top1_percent + row.top1_change_high)
    assert len(figure.axes[0].collections) == 3
    assert '95 % interval' in figure.get_supxlabel() and '300 videos' in figure.get_supxlabel()


def test_without_an_unpruned_variant_there_are_no_bands() -> None:
    assert not plot(summarise(result(unpruned=False))).axes[0].collections


def test_one_schedule_alone_has_a_bar() -> None:
    rows = summarise(result(drops=(32,)))
    assert len(plot(rows[:2]).axes[0].collections) == 2


def test_eight_families_get_two_columns_in_the_legend() -> None:
    row = summarise(result())[1]
    rows = [dataclasses.replace(row, name=f'p{i}-32', pruner=f'p{i}') for i in range(8)]
    assert plot(rows).axes[0].get_legend()._ncols == 2
    assert plot().axes[0].get_legend()._ncols == 1


def test_each_schedule_is_named_once_above_its_highest_point() -> None:
    texts = {text.get_text(): text for text in plot().axes[0].texts}
    assert sorted(texts) == ['32', '48', '64']
    rows = [row for row in summarise(result()) if row.name.endswith('-48')]
    best = max(rows, key=lambda row: row.top1_percent)
    x, y = texts['48'].xy
    assert x == best.gflops_per_view
    assert y == best.top1_percent


def test_labels_that_would_overlap_are_left_out() -> None:
    row = summarise(result())[1]
    rows = [
        dataclasses.replace(row, name=f'sta-{i}', label=str(i), gflops_per_view=100.0 + i)
        for i in range(100)
    ]
    figure = plot(rows)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert 2 <= len(boxes) < 50
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_axes_carry_units_and_the_title_is_optional() -> None:
    axes = plot(title='ViT-B').axes[0]
    assert axes.get_title() == 'ViT-B'
    assert 'GFLOPs per view' in axes.get_xlabel()
    assert '(%)' in axes.get_ylabel()
    assert plot().axes[0].get_title() == ''


@pytest.mark.parametrize('keep', [slice(0, 1), slice(1, None), slice(1, 2)])
def test_whatever_was_run_can_be_drawn(keep, tmp_path) -> None:
    rows = summarise(result())[keep]
    figure = plot(rows)
    assert len(lines_of(figure)) == len({row.pruner for row in rows})
    save_figure(figure, tmp_path, 'plot')


def test_no_videos_are_refused() -> None:
    with pytest.raises(ValueError, match='num_videos=0'):
        plot_accuracy_vs_gflops(summarise(result()), num_videos=0)


def test_files_are_written_and_nothing_else(tmp_path) -> None:
    png, svg = save_figure(plot(), tmp_path / 'new', 'accuracy')
    assert sorted(tmp_path.glob('new/*')) == [png, svg]
    assert imread(png).shape[1] >= 1000
    text = svg.read_text(encoding='utf-8')
    assert '<svg' in text
    assert 'dc:date' not in text


def test_the_same_plot_gives_the_same_bytes(tmp_path) -> None:
    first = save_figure(plot(), tmp_path / 'a', 'plot')
    second = save_figure(plot(), tmp_path / 'b', 'plot')
    for one, other in zip(first, second):
        assert one.read_bytes() == other.read_bytes()


def test_matplotlib_is_left_as_it_was(tmp_path) -> None:
    before = dict(matplotlib.rcParams)
    save_figure(plot(), tmp_path, 'plot')
    assert dict(matplotlib.rcParams) == before
