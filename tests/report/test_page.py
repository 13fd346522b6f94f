"""The page: one file, every number of the table, nothing that a name could smuggle in."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sta.environment import commit_of
from sta.errors import DataError
from sta.evaluation import EvaluationResult, LeftOut, summarise
from sta.pruning import Variant
from sta.report import Table, load, write_results
from sta.report.folder import by_class
from sta.report.page import (
    NONE_MADE,
    read_examples,
    summary_of,
    write_examples,
    write_page,
)
from sta.report.table import ACCURACY
from sta.visualization import Example, Examples, Strip

from .example import cost, evaluated, result, scored

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
NASTY = '<script>alert("x")</script>&amp;{{ 7*7 }}'
STRIPS = (Strip('frames', 'two frames', 20, 10, b'one'), Strip(NASTY, NASTY, 20, 10, b'two'))
EXAMPLES = Examples((Example('a.mp4', 'Class a.', STRIPS), Example(NASTY, NASTY, STRIPS)), NASTY)


def saved(folder: Path, found: EvaluationResult, **facts: Any) -> Path:
    """Everything but plots, which the page draws itself."""
    names = tuple(f'class <b>{i}</b>' for i in range(10))
    made = dataclasses.replace(evaluated(found, **facts), class_names=names)
    write_results(made, folder)
    (folder / 'classes.csv').write_text(by_class(made).csv())
    return folder


def page_of(folder: Path, **settings: Any) -> str:
    return write_page(load(folder), folder, **settings).read_text(encoding='utf-8')


class Cells(HTMLParser):
    """Texts of table cells, and names of elements, as a browser would find them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ('src', 'href', 'xlink:href', 'srcset')]
        if tag in ('td', 'th'):
            self._inside = True
            self.cells.append('')

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ('td', 'th')

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def test_every_number_of_the_table_stands_on_the_page(tmp_path: Path) -> None:
    found = result()
    page = page_of(saved(tmp_path, found))
    cells = [cell.strip() for cell in Cells(page).cells]
    for name, *numbers in Table(ACCURACY, summarise(found)).lines():
        start = cells.index(name)
        assert cells[start + 1 : start + 1 + len(numbers)] == numbers
    assert '300 videos x 15 views.' in page
    assert page.count('<svg role="img"') == 3


def test_the_page_needs_no_network_and_no_second_file(tmp_path: Path) -> None:
    page = page_of(saved(tmp_path, result()))
    parsed = Cells(page)
    assert all(link.startswith(('#', 'data:')) for link in parsed.links)
    assert 'link' not in parsed.tags and '@import' not in page
    assert not re.search(r'url\((?!#)', page)


def test_names_are_shown_as_they_are_and_do_nothing(tmp_path: Path) -> None:
    variants = result().variants
    odd = scored(Variant(NASTY, {'type': NASTY}, 64, NASTY), cost(64), 0.1, result().labels)
    found = dataclasses.replace(
        result(), variants=(*variants, odd), left_out=(LeftOut(NASTY, 1, NASTY),)
    )
    page = page_of(saved(tmp_path, found))
    parsed = Cells(page)
    assert parsed.tags.count('script') == 1  # our own
    assert NASTY in parsed.cells and 'class <b>3</b>' in parsed.cells
    assert 'b' not in parsed.tags
    assert page.count('{{ 7*7 }}') >= 3  # in the table, the settings and the videos left out


def test_the_same_evaluation_gives_the_same_page(tmp_path: Path) -> None:
    saved(tmp_path, result())
    assert page_of(tmp_path) == page_of(tmp_path)


def test_ids_of_several_plots_do_not_meet(tmp_path: Path) -> None:
    """One plot's clipping path must not cut another one."""
    page = page_of(saved(tmp_path, result()))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="|url\()#([^")]+)', page)
    assert used and set(used) <= set(ids)


def test_the_summary_names_the_largest_saving_within_a_point(tmp_path: Path) -> None:
    read = load(saved(tmp_path, result(num_videos=300)))
    row = read.rows[1]
    rows = (
        dataclasses.replace(read.rows[0], top1_percent=80.0),
        dataclasses.replace(row, name='a', reduction_percent=20.0, top1_change=0.0),
        dataclasses.replace(row, name='b', reduction_percent=40.0, top1_change=-0.9),
        dataclasses.replace(row, name='c', reduction_percent=60.0, top1_change=-1.1),
    )
    assert summary_of(dataclasses.replace(read, rows=rows)).startswith(
        'b saves 40.0 % of the GFLOPs'
    )
    assert summary_of(dataclasses.replace(read, rows=rows[:1])) == ''
    interval = f'{row.top1_change_low:+.2f} to {row.top1_change_high:+.2f}'
    assert f'(80.00 %, 95 % interval {interval})' in summary_of(
        dataclasses.replace(read, rows=rows)
    )
    mean = dataclasses.replace(rows[1], name='a (2 seeds)', averages=('b',))
    luckiest = dataclasses.replace(read, rows=(rows[0], mean, rows[2]))
    assert summary_of(luckiest).startswith('a (2 seeds) saves')  # not its best draw
    assert summary_of(dataclasses.replace(read, rows=rows[2:])) == ''


def test_pictures_are_put_inside(tmp_path: Path) -> None:
    picture = tmp_path / 'a clip.png'
    picture.write_bytes(b'\x89PNG not really')
    page = page_of(saved(tmp_path, result()), pictures=[picture])
    assert 'alt="a clip" src="data:image/png;base64,iVBORyBub3QgcmVhbGx5"' in page


def test_the_data_stand_on_the_page(tmp_path: Path) -> None:
    found = result()
    digests = {'videos': '0123456789abcdef'}
    saved(tmp_path, found, annotations='data/val.txt', fingerprint=digests)
    cells = [cell.strip() for cell in Cells(page_of(tmp_path)).cells]
    facts = list(zip(cells, cells[1:]))
    assert ('annotation file', 'data/val.txt') in facts
    assert ('videos', '300 of 300') in facts
    assert ('fingerprint of videos', '0123456789abcdef') in facts
    if commit := commit_of():
        assert ('commit', commit) in facts


def test_results_of_an_older_version_have_a_page_too(tmp_path: Path) -> None:
    path = saved(tmp_path, result()) / 'results.json'
    found = json.loads(path.read_text())
    for name in ('annotations', 'fingerprint', 'commit', 'num_listed'):
        del found['environment'][name]
    path.write_text(json.dumps(found))
    cells = Cells(page_of(tmp_path)).cells
    assert cells[cells.index('annotation file') + 1] == 'not recorded'


def test_why_changes_are_paired_is_said(tmp_path: Path) -> None:
    page = page_of(saved(tmp_path, result()))
    assert 'Kinetics-400 (19,881 videos, about 85 %) has a standard error of 0.25 points' in page


def test_greys_are_turned_over_in_the_dark(tmp_path: Path) -> None:
    """White becomes the page's ground, black its text; colours stay."""
    page = page_of(saved(tmp_path, result()))
    assert '--grey-ff: #0d1117;' in page and '--grey-00: #e6edf3;' in page
    used = set(re.findall(r'var\(--grey-(..), #\1\1\1\)', page))
    assert {'00', 'ff', 'e6'} <= used == set(re.findall(r'--grey-(..): #', page))
    assert not re.search(r'(?:fill|stroke): #(..)\1\1\b', page)
    assert 'fill: #0072b2' in page


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (None, 'holds no results.json'),
        ('{', 'is not what'),
        ('{"rows": []}', 'must hold the rows'),
        ('[]', 'is not'),
    ],
)
def test_a_folder_without_results(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / 'results.json').write_text(content)
    with pytest.raises(DataError, match=said):
        page_of(tmp_path)


@pytest.mark.skipif(CHROMIUM is None, reason='no chromium on this machine')
def test_a_click_on_a_head_sorts_the_table(tmp_path: Path) -> None:
    """Ascending, descending, as it was: numbers as numbers, in a real browser."""
    found = result()
    page = page_of(saved(tmp_path, found))
    top1 = Table(ACCURACY, []).headings.index('top-1 %')
    script = f"""
    const head = document.querySelectorAll('table.sortable thead th')[{top1}];
    const values = () => [...document.querySelector('table.sortable').tBodies[0].rows]
        .map(row => parseFloat(row.cells[{top1}].textContent));
    const seen = [values()];
    for (let i = 0; i < 3; i++) {{ head.firstElementChild.click(); seen.push(values()); }}
    document.body.innerHTML = '<pre id="seen">' + JSON.stringify(seen) + '</pre>';
    """
    clicked = tmp_path / 'clicked.html'
    clicked.write_text(page.replace('</body>', f'<script>{script}</script></body>'))
    done = subprocess.run(
        [
            CHROMIUM,
            '--headless',
            '--no-sandbox',
            '--disable-gpu',
            '--disable-background-networking',
            f'--user-data-dir={tmp_path / "profile"}',
            '--dump-dom',
            clicked.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    seen = json.loads(re.search(r'<pre id="seen">(.*)</pre>', done.stdout)[1])
    before = [round(row.top1_percent, 2) for row in summarise(found)]
    assert seen == [before, sorted(before), sorted(before, reverse=True), before]


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    write_examples(EXAMPLES, tmp_path)
    assert read_examples(tmp_path) == EXAMPLES


def test_the_page_shows_them_and_made_again_keeps_them(tmp_path: Path) -> None:
    saved(tmp_path, result())
    write_examples(EXAMPLES, tmp_path)
    page = page_of(tmp_path)
    assert page == page_of(tmp_path)
    parsed = Cells(page)
    assert parsed.tags.count('img') == 4 and parsed.tags.count('script') == 1
    assert 'b' not in parsed.tags
    assert '<img alt="two frames" width="20" height="10" src="data:image/webp;base64,b25l">' in page
    assert '<h3>a.mp4</h3>\n<p>Class a.</p>' in page
    assert NONE_MADE not in page


def test_a_page_without_says_how_to_get_them(tmp_path: Path) -> None:
    page = page_of(saved(tmp_path, result()))
    assert NONE_MADE in page and '<img' not in page
    write_examples(Examples((), 'No example clips: no memory.'), tmp_path)
    page = page_of(tmp_path)
    assert 'No example clips: no memory.' in page and NONE_MADE not in page


@pytest.mark.parametrize('name', ['../../secret.webp', '/etc/passwd', 'absent.webp', 'a.txt', 7])
def test_only_pictures_of_the_folder_are_read(tmp_path: Path, name: object) -> None:
    (tmp_path / 'secret.webp').write_bytes(b'secret')
    listed = write_examples(EXAMPLES, tmp_path) / 'examples.json'
    found = json.loads(listed.read_text())
    found['examples'][0]['strips'][0]['image'] = name
    listed.write_text(json.dumps(found))
    with pytest.raises(DataError, match='examples.json or a picture that it names is damaged'):
        read_examples(tmp_path)


@pytest.mark.parametrize('text', ['', '[]', '{"note": ""}', '{"examples": [1], "note": ""}'])
def test_a_damaged_list_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / 'examples').mkdir()
    (tmp_path / 'examples' / 'examples.json').write_text(text)
    with pytest.raises(DataError, match='is damaged'):
        read_examples(tmp_path)
