"""Examples on the page: written once, read for every page, nothing in them trusted."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from sta.errors import DataError
from sta.report.page import read_examples, write_examples, write_page
from sta.report.page.examples import NONE_MADE
from sta.visualization import Example, Examples, Strip
from tests.report.example import result
from tests.report.page.test_page import NASTY, Cells, evaluated

STRIPS = (Strip('frames', 'two frames', 20, 10, b'one'), Strip(NASTY, NASTY, 20, 10, b'two'))
EXAMPLES = Examples((Example('a.mp4', 'Class a.', STRIPS), Example(NASTY, NASTY, STRIPS)), NASTY)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    write_examples(EXAMPLES, tmp_path)
    shown, note = read_examples(tmp_path)
    assert note == NASTY
    assert [(e.name, e.caption) for e in shown] == [('a.mp4', 'Class a.'), (NASTY, NASTY)]
    for example in shown:
        for read, strip in zip(example.strips, STRIPS, strict=True):
            assert read[:4] == strip[:4]
            assert base64.b64decode(read.source.removeprefix('data:image/webp;base64,')) in (
                strip.image
            )


def test_the_page_shows_them_and_made_again_keeps_them(tmp_path: Path) -> None:
    evaluated(tmp_path, result())
    write_examples(EXAMPLES, tmp_path)
    page = write_page(tmp_path).read_text(encoding='utf-8')
    assert page == write_page(tmp_path).read_text(encoding='utf-8')
    parsed = Cells(page)
    assert parsed.tags.count('img') == 4 and parsed.tags.count('script') == 1
    assert 'b' not in parsed.tags
    assert '<img alt="two frames" width="20" height="10" src="data:image/webp;base64,b25l">' in page
    assert '<h3>a.mp4</h3>\n<p>Class a.</p>' in page
    assert NONE_MADE not in page


def test_a_page_without_says_how_to_get_them(tmp_path: Path) -> None:
    page = write_page(evaluated(tmp_path, result())).read_text(encoding='utf-8')
    assert NONE_MADE in page and '<img' not in page
    write_examples(Examples((), 'No example clips: no memory.'), tmp_path)
    page = write_page(tmp_path).read_text(encoding='utf-8')
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
