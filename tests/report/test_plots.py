"""The plot holds the numbers, read back from what it draws; names in any writing, too."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.image import imread

from sta.evaluation import SummaryRow, shown_rows, summarise
from sta.report import plot_accuracy_vs_gflops, plot_accuracy_vs_throughput, plots, save_figure
from sta.report.plots import COLOURS, family_styles

from .example import result, with_seeds

NAME = '打架 fight'


def plot(rows: list[SummaryRow] | None = None, title: str = '') -> Figure:
    rows = summarise(result()) if rows is None else rows
    return plot_accuracy_vs_gflops(rows, num_videos=300, title=title)


def lines_of(figure: Figure) -> dict[str, matplotlib.lines.Line2D]:
    lines = figure.axes[0].get_lines()
    return {line.get_label(): line for line in lines if not line.get_label().startswith('_')}


def note_of(figure: Figure) -> str:
    return figure.legends[0].get_title().get_text()


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


@pytest.mark.parametrize('speed', [float('nan'), float('inf'), 0.0])
def test_unknown_speeds_are_left_out(speed, tmp_path) -> None:
    first, *rows = summarise(result())
    unknown = dataclasses.replace(first, clips_per_s=speed)
    figure = plot_accuracy_vs_throughput([unknown, *rows], num_videos=300, hardware='h')
    assert list(lines_of(figure)) == ['sta', 'random', 'tome']
    nothing = plot_accuracy_vs_throughput([unknown], num_videos=300, hardware='h')
    assert not lines_of(nothing)
    save_figure(nothing, tmp_path, 'nothing')


def test_speeds_that_turn_back_have_bars_for_a_band() -> None:
    """A pruner whose larger drop happened to be slower: a band would cross itself."""
    rows = [row for row in summarise(result()) if row.pruner in ('', 'sta')]
    noisy = [
        dataclasses.replace(row, clips_per_s=speed)
        for row, speed in zip(rows, (5.0, 9.0, 7.0, 8.0), strict=True)
    ]
    figure = plot_accuracy_vs_throughput(noisy, num_videos=300, hardware='h')
    [bars] = figure.axes[0].collections
    ends = {float(line[0, 0]): line[:, 1].tolist() for line in bars.get_segments()}
    for row in noisy[1:]:
        low, high = row.top1_change_low, row.top1_change_high
        whole = rows[0].top1_percent
        assert ends[row.clips_per_s] == pytest.approx([whole + low, whole + high])


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
    note = note_of(figure)
    assert '95 % interval' in note and 'paired over 300 videos' in note


def test_without_an_unpruned_variant_there_are_no_bands() -> None:
    assert not plot(summarise(result(unpruned=False))).axes[0].collections


def test_one_schedule_alone_has_a_bar() -> None:
    rows = summarise(result(drops=(32,)))
    [bar] = plot(rows[:2]).axes[0].collections
    ends = [rows[0].top1_percent + rows[1].top1_change_low]
    ends.append(rows[0].top1_percent + rows[1].top1_change_high)
    assert list(bar.get_paths()[0].vertices[:, 1]) == pytest.approx(ends)


def families(count: int, name: str = 'p{}') -> list[SummaryRow]:
    """No pruning, and as many families of one point."""
    unpruned, row = summarise(result())[:2]
    return [unpruned] + [
        dataclasses.replace(row, name=f'p{i}-32', pruner=name.format(i), top1_percent=50.0 + i)
        for i in range(count)
    ]


def test_sixty_families_differ_in_more_than_colour() -> None:
    styles = family_styles(f'p{i}' for i in range(60))
    assert len(set(styles.values())) == 60
    assert len({(style.marker, style.line) for style in styles.values()}) >= 36
    assert [styles[f'p{i}'].line for i in (0, 5, 6, 12, 18)] == ['-', '-', '--', '-.', ':']


@pytest.mark.parametrize('count', [1, 9, 59])
def test_the_legend_is_below_the_plot_and_inside_of_the_picture(count) -> None:
    figure = plot(families(count))
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.width
    assert legend.y0 >= 0 and legend.y1 < figure.axes[0].get_window_extent().y0
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ['no pruning', *(f'p{i}' for i in range(count))]
    # The plot keeps its size, however many families there are.
    assert figure.axes[0].get_window_extent().height == pytest.approx(580, abs=40)


def test_long_names_are_broken_and_nothing_of_them_is_lost() -> None:
    name = 'sta[similarity=value,first_frame=grid,score=temporal,order=FBF,number={}]' + 70 * 'x'
    figure = plot(families(3, name))
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
    found = figure.legends[0].get_texts()[2].get_text()
    assert found.split('\n')[0].endswith('score=temporal,')
    assert ''.join(found.split()) == name.format(1)


def test_a_mean_over_seeds_has_a_band_of_their_spread() -> None:
    rows = shown_rows(summarise(with_seeds()))
    rows.append(dataclasses.replace(rows[1], gflops_per_view=90.0, label='64', top1_spread=2.0))
    figure = plot(rows)
    interval, spread = (band.get_paths()[0].vertices for band in figure.axes[0].collections)
    for row in rows[1:]:
        at = spread[np.isclose(spread[:, 0], row.gflops_per_view), 1]
        assert at.min() == pytest.approx(row.top1_percent - row.top1_spread)
        assert at.max() == pytest.approx(row.top1_percent + row.top1_spread)
        assert np.isclose(interval[:, 1], rows[0].top1_percent + row.top1_change_low).any()
    assert 'standard deviation over the seeds' in note_of(figure)
    assert 'standard deviation' not in note_of(plot())


def test_speed_has_the_same_points_in_the_same_styles() -> None:
    rows = summarise(result())
    figure = plot_accuracy_vs_throughput(rows, num_videos=300, hardware='Some GPU')
    assert 'Some GPU' in figure.axes[0].get_xlabel()
    cost, speed = lines_of(plot()), lines_of(figure)
    for family in ('sta', 'random', 'tome'):
        own = sorted((r for r in rows if r.pruner == family), key=lambda row: row.gflops_per_view)
        assert list(speed[family].get_xdata()) == [row.clips_per_s for row in own]
        assert list(speed[family].get_ydata()) == [row.top1_percent for row in own]
        assert speed[family].get_color() == cost[family].get_color()
        assert speed[family].get_marker() == cost[family].get_marker()


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


@pytest.fixture
def own_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fontManager, 'ttflist', list(fontManager.ttflist))
    own = set(plots._installed())
    fontManager.ttflist = [entry for entry in fontManager.ttflist if entry not in own]
    plots._say_once.cache_clear()
    yield
    fontManager._findfont_cached.cache_clear()


def named_figure() -> Figure:
    drawn = Figure(layout='constrained')
    drawn.add_subplot().set_yticks([0, 1], [NAME, 'none'])
    return drawn


def install_font(path: Path, letters: str) -> None:
    """A font of black squares."""
    pen = TTGlyphPen(None)
    for step, corner in enumerate(((0, 0), (0, 700), (700, 700), (700, 0))):
        (pen.lineTo if step else pen.moveTo)(corner)
    pen.closePath()
    names = ['.notdef', *(f'u{ord(letter):x}' for letter in letters)]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap(dict(zip(map(ord, letters), names[1:])))
    font.setupGlyf({name: pen.glyph() for name in names})
    font.setupHorizontalMetrics({name: (800, 50) for name in names})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({'familyName': path.stem, 'styleName': 'Regular'})
    font.setupOS2(sTypoAscender=800, usWeightClass=400)
    font.setupPost()
    font.save(path)
    fontManager.addfont(path)


@pytest.mark.usefixtures('own_fonts')
@pytest.mark.filterwarnings('error')
def test_without_a_font_it_is_said_once_in_a_line(tmp_path, capsys) -> None:
    save_figure(named_figure(), tmp_path, 'plot')
    save_figure(named_figure(), tmp_path, 'plot')
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('note: no installed font has 打架, which plots show as boxes')


@pytest.mark.usefixtures('own_fonts')
@pytest.mark.filterwarnings('error')
def test_installed_fonts_are_used(tmp_path, capsys) -> None:
    boxes = io.BytesIO()
    plots.draw(named_figure(), boxes, format='png', metadata={})
    capsys.readouterr()
    install_font(tmp_path / 'One.ttf', '打')
    install_font(tmp_path / 'Other.ttf', '架')
    drawn, again = io.StringIO(), io.BytesIO()
    plots.draw(named_figure(), drawn, format='svg', metadata={})
    plots.draw(named_figure(), again, format='png', metadata={})
    assert capsys.readouterr().err == ''
    assert drawn.getvalue().count('</svg>') == 1
    assert again.getvalue() != boxes.getvalue()


@pytest.mark.usefixtures('own_fonts')
def test_other_warnings_are_passed_on(monkeypatch) -> None:
    drawn = named_figure()
    monkeypatch.setattr(drawn, 'savefig', lambda *_, **__: warnings.warn('too many', stacklevel=1))
    with pytest.warns(UserWarning, match='too many'):
        plots.draw(drawn, io.BytesIO(), format='png', metadata={})
