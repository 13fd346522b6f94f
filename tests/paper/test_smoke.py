"""Scaled schedules by hand, and every experiment of every table on the small models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sta.engine.session import views_per_video
from sta.paper import build_tables
from sta.paper.experiment import variant_of
from sta.paper.reproduction import Request, reproduce
from sta.paper.results import shown
from sta.paper.schedules import per_frame
from sta.paper.settings import ablated, setting_of, sta
from sta.paper.smoke import scaled, small, smoke_inputs, smoke_table

from .conftest import ROOT

ALL = [table.name for table in build_tables(['all'])]
VIT_L, SWIN_B = setting_of('ViT-L', 'k400'), setting_of('VideoSwin-B', 'ssv2')


def test_drops_are_scaled_to_the_small_grids() -> None:
    assert scaled(64, 196, 36) == 12  # 11.76
    assert scaled(320, 784, 36) == 15  # 14.69
    assert scaled(1, 196, 36) == 1
    assert small(sta(VIT_L, 64)).schedule == 12
    assert small(sta(setting_of('ViT-H', 'k400'), 64)).schedule == 12
    assert small(ablated(VIT_L, 64, 'first_frame', 'grid')).schedule == 9
    assert small(sta(SWIN_B, 192)).schedule == (9, 3)  # 8.82 of 36, 72 * 9 / 196 = 3.31 of 9
    assert small(sta(SWIN_B, 0)).schedule == 0


def test_places_and_chunks_are_kept_in_proportion() -> None:
    stages = small(per_frame(VIT_L, [27, 54, 108], 'increasing')).schedule
    assert [(s.after_block, s.num_chunks, s.num_drop, s.backward) for s in stages] == [
        (0, 8, 5, False),
        (2, 4, 20, True),
        (4, 2, 79, False),
    ]


def test_it_shows_nothing_that_was_published() -> None:
    for table in build_tables(['all']):
        smoke = smoke_table(table)
        assert smoke.title.startswith('SMOKE, not the paper')
        assert all(cell.published is None for cell in smoke.cells())
        wanted = [cell for cell in table.cells() if cell.experiment]
        assert sum(1 for cell in smoke.cells() if cell.experiment) == len(wanted)
        # Models of others, of which there is nothing to run, are left out.
        assert all(any(cell.experiment for cell in row.cells) for row in smoke.rows)


def test_variants_of_a_smoke_setting_have_names_of_their_own() -> None:
    cells = [cell for table in build_tables(['all']) for cell in smoke_table(table).cells()]
    experiments = {cell.experiment for cell in cells if cell.experiment}
    assert len({(e.setting, variant_of(e).name) for e in experiments}) == len(experiments)


@pytest.mark.parametrize('views', [(2, 3), (16, 3)])
def test_views_are_those_of_the_experiment(views: tuple[int, int]) -> None:
    setting = small(sta(setting_of('ViT-L', 'k400', views), 0)).setting
    config = smoke_inputs(ROOT).config(setting)
    assert views_per_video(config) == views[0] * views[1]
    assert config.test_dataloader.dataset.max_videos == {(2, 3): 24, (16, 3): 3}[views]


def run(names: list[str], folder: Path) -> list:
    request = Request(tuple(build_tables(names)), ROOT, out=folder, is_smoke=True, command='test')
    inputs = smoke_inputs(ROOT, num_views=1)
    filled, written = reproduce(request, inputs)
    assert all(path.is_file() for path in written)
    assert len(written) == 4 * len(names) + 2 * ('fig5' in names)
    return filled


def check(filled: list) -> None:
    for table in filled:
        for place in table.places():
            quantity = place.filled.cell.quantity
            if quantity in ('top1', 'top5'):
                assert 0 <= place.filled.ours <= 100, (table.table.name, place.row.label)
            if quantity == 'gflops':
                assert 0.2 < place.filled.ours < 0.6
            assert place.filled.cell.published is None
        assert not any('paper' in heading or heading == 'diff' for heading in shown(table)[0])


def test_every_experiment_but_the_many_views_runs(tmp_path: Path) -> None:
    names = [name for name in ALL if name != 'supp2']
    check(run(names, tmp_path))
    folders = {path.parent.parent.name for path in tmp_path.glob('runs/*/*/results.json')}
    assert folders == {
        'smoke_vit_k400_5x3',
        'smoke_vit_ssv2_2x3',
        'smoke_swin_k400_4x3',
        'smoke_swin_ssv2_1x3',
    }
    found = json.loads((tmp_path / 'table6a.json').read_text())
    assert found['smoke'] is True and found['title'].startswith('SMOKE')


@pytest.mark.slow
def test_every_experiment_runs(tmp_path: Path) -> None:
    check(run(ALL, tmp_path))


def test_what_is_finished_is_not_done_again_and_what_was_cut_off_is_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first = run(['table5'], tmp_path)
    [results] = tmp_path.glob('runs/smoke_vit_ssv2_2x3/*/results.json')
    results.unlink()  # the last thing a run writes
    capsys.readouterr()
    again = run(['table5'], tmp_path)
    said = capsys.readouterr().out
    assert f'{results.parent}, which was cut off' in said
    assert said.count('which was finished') == 1
    assert results.is_file()
    numbers = [[[filled.ours for filled in row] for row in t[0].cells] for t in (first, again)]
    assert numbers[0] == numbers[1]


def test_tables_share_one_setting() -> None:
    tables = [smoke_table(table) for table in build_tables(['table2', 'table6a'])]
    experiments = [cell.experiment for table in tables for cell in table.cells()]
    k400 = {e.setting for e in experiments if e and e.setting.dataset == 'k400'}
    assert len(k400) == 1
