"""Names in any writing: with a font for them, and without."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from sta.report import plots as fonts
from sta.report import save_figure

NAME = '打架 fight'


@pytest.fixture(autouse=True)
def only_the_fonts_of_matplotlib(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fontManager, 'ttflist', list(fontManager.ttflist))
    own = set(fonts._installed())
    fontManager.ttflist = [entry for entry in fontManager.ttflist if entry not in own]
    fonts._say_once.cache_clear()
    yield
    fontManager._findfont_cached.cache_clear()


def figure() -> Figure:
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


@pytest.mark.filterwarnings('error')
def test_without_a_font_it_is_said_once_in_a_line(tmp_path, capsys) -> None:
    save_figure(figure(), tmp_path, 'plot')
    save_figure(figure(), tmp_path, 'plot')
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('note: no installed font has 打架, which plots show as boxes')


@pytest.mark.filterwarnings('error')
def test_installed_fonts_are_used(tmp_path, capsys) -> None:
    boxes = io.BytesIO()
    fonts.draw(figure(), boxes, format='png', metadata={})
    capsys.readouterr()
    install_font(tmp_path / 'One.ttf', '打')
    install_font(tmp_path / 'Other.ttf', '架')
    drawn, again = io.StringIO(), io.BytesIO()
    fonts.draw(figure(), drawn, format='svg', metadata={})
    fonts.draw(figure(), again, format='png', metadata={})
    assert capsys.readouterr().err == ''
    assert drawn.getvalue().count('</svg>') == 1
    assert again.getvalue() != boxes.getvalue()


def test_other_warnings_are_passed_on(monkeypatch) -> None:
    drawn = figure()
    monkeypatch.setattr(drawn, 'savefig', lambda *_, **__: warnings.warn('too many', stacklevel=1))
    with pytest.warns(UserWarning, match='too many'):
        fonts.draw(drawn, io.BytesIO(), format='png', metadata={})
