"""Files of a filled table say the same numbers, and LaTeX is well-formed."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from rich.console import Console

from sta.paper.files import environment, write_tables
from sta.paper.latex import escape, latex_table
from sta.paper.results import FilledTable
from sta.paper.texts import csv_text, json_text, latex_text, markdown_text, screen_table
from sta.report import print_table

FACTS = environment('python tools/reproduce.py --out "a_b" 100%')


def test_csv_has_a_line_per_cell(filled: dict[str, FilledTable]) -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(filled['table2']))))
    assert len(lines) == 16 * 4 + 8
    first = lines[0]
    assert (first['row'], first['column'], first['published']) == ('ViT-S r=0', 'GFLOPs/view', '57')
    assert float(first['ours']) == pytest.approx(56.95, abs=0.01)
    assert float(first['difference']) == pytest.approx(-0.05, abs=0.01)
    top1 = lines[1]
    assert (top1['published'], top1['ours'], top1['needs']) == ('78.8', '', 'K400 + vit_s_k400.pth')
    assert (top1['config'], top1['schedule']) == ('configs/sta_vit_s_k400.py', '0')
    assert json.loads(top1['pruner']) == {'type': 'STAPruner'}


def test_json_holds_the_settings_of_every_variant(filled: dict[str, FilledTable]) -> None:
    found = json.loads(json_text(filled['table6d'], FACTS))
    assert found['smoke'] is False
    assert found['environment']['command'] == FACTS['command']
    increasing = [cell for cell in found['cells'] if cell['row'].startswith('increasing')]
    assert increasing[0]['schedule']['schedule'][2] == {
        'after_block': 16,
        'num_chunks': 2,
        'num_drop': 432,
        'backward': False,
    }
    speed = next(cell for cell in increasing if cell['quantity'] == 'clips_per_s')
    assert (speed['published'], speed['needs']) == (44, '--throughput')


def test_markdown(filled: dict[str, FilledTable]) -> None:
    text = markdown_text(filled['table2'], FACTS)
    lines = text.splitlines()
    assert lines[0].startswith('### table2: STA on ViT')
    table = [line for line in lines if line.startswith('|')]
    assert len(table) == 18 and len({line.count('|') for line in table}) == 1
    assert table[2].startswith('| ViT-S r=0 | 57 | 56.95 | -0.05 | 78.8 | [1] |')
    assert '- [1] needs K400 + vit_s_k400.pth' in lines
    assert f'- command: {FACTS["command"]}' in lines
    assert 'torch 2' in lines[-1] and FACTS['hardware'] in lines[-1]


@pytest.mark.parametrize('name', ['table2', 'table6d', 'supp1', 'supp3', 'fig5'])
def test_latex_is_well_formed(filled: dict[str, FilledTable], name: str) -> None:
    text = latex_text(filled[name], FACTS)
    printed = [line for line in text.splitlines() if not line.startswith('%')]
    body = '\n'.join(printed)
    begun, ended = (re.findall(rf'\\{w}{{(\w+)}}', body) for w in ('begin', 'end'))
    assert begun == ['table', 'tabular'] and ended == ['tabular', 'table']
    plain = re.sub(r'\\[{}]', '', body)
    depth = 0
    for character in plain:
        depth += {'{': 1, '}': -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    rows = [line for line in printed if line.endswith(r'\\')]
    assert len(rows) == 1 + len(filled[name].table.rows)
    [letters] = re.findall(r'begin{tabular}{(\w+)}', body)
    assert {len(re.findall(r'(?<!\\)&', row)) for row in rows} == {len(letters) - 1}
    body = re.sub(r'\$[+-][\d.]+\$', '', body)  # with a minus sign, not a hyphen
    unescaped = re.sub(r'\\.', '', body.replace(r'!{}{%', '')).replace(r'{%', '{')
    assert not re.search('[%#$_]', re.sub(r'&|\[.*?\]', '', unescaped))


def test_escaping() -> None:
    assert escape('100% of a_b & {c}') == r'100\% of a\_b \& \{c\}'
    assert escape('--out \\ ~ ^ $ # <>') == (
        r'-{}-out \textbackslash{} \textasciitilde{} \textasciicircum{} \$ \# '
        r'\textless{}\textgreater{}'
    )


def test_a_mark_is_not_taken_for_an_option_of_a_line_break() -> None:
    text = latex_table(
        ['a', 'b'], [['[1]', 'x'], ['*', '2']], caption='c', label='l', notes=[], comments=['x\ny']
    )
    assert '{[1]} & {*} \\\\' in text and 'x & 2 \\\\' in text
    assert text.startswith('% x y\n')


def test_differences_have_minus_signs(filled: dict[str, FilledTable]) -> None:
    text = latex_text(filled['table2'], FACTS)
    assert 'ViT-S r=0 & 57 & 56.95 & $-0.05$ & 78.8' in text
    assert 'ViT-L r=64 & 308 & 308.74 & $+0.74$ & 85.0' in text
    assert 'table6d & -' not in text and '& - &' in latex_text(filled['table6d'], FACTS)


def test_the_screen_breaks_headings_not_numbers(filled: dict[str, FilledTable]) -> None:
    table = screen_table(filled['table3'])
    assert [str(column.header).split('\n') for column in table.columns][:4] == [
        ['', 'model'],
        ['GFLOPs', '/view', 'paper'],
        ['GFLOPs', '/view', 'ours'],
        ['', 'diff'],
    ]
    file = io.StringIO()
    print_table(table, Console(file=file, width=100))
    printed = file.getvalue()
    assert 'VideoSwin-S' in printed and printed.count('r1=256') == 3
    for row in filled['table3'].cells:
        assert f' {row[0].ours:.2f} ' in printed


def test_every_table_is_written(filled: dict[str, FilledTable], tmp_path) -> None:
    paths = write_tables([filled['table5'], filled['fig5']], tmp_path, 'command')
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    assert sorted(path.name for path in paths) == [
        'fig5.csv',
        'fig5.json',
        'fig5.md',
        'fig5.png',
        'fig5.svg',
        'fig5.tex',
        'table5.csv',
        'table5.json',
        'table5.md',
        'table5.tex',
    ]
