"""The command line: tables without anything, and every mistake in one line."""

from __future__ import annotations

import json

import pytest

from .tiny import ROOT, run_tool


def test_a_table_without_weights_and_data(tmp_path, capsys) -> None:
    assert run_tool('reproduce', 'table5', '--out', tmp_path / 'out') == 0
    out = capsys.readouterr().out
    assert 'TimeSformer-L (1 x 3)' in out and '115.86' in out
    assert '[1] needs SSV2 + swin_b_ssv2.pth' in out
    assert '4 of 4 round to the published number' in out
    assert 'vit_b_ssv2 or videomae-base-finetuned-ssv2: missing' in out
    found = json.loads((tmp_path / 'out/table5.json').read_text())
    command = f'python tools/reproduce.py table5 --out {tmp_path / "out"}'
    assert found['environment']['command'] == command


def test_the_usual_folder_is_in_work_dirs(tmp_path) -> None:
    assert run_tool('reproduce', 'supp1') == 0
    assert (tmp_path / 'work_dirs/paper/supp1.md').is_file()
    text = (tmp_path / 'work_dirs/paper/supp1.md').read_text()
    assert 'needs training' in text and 'tools/train.py' in text and 'total_batch 128' in text


def test_an_unknown_table(refused) -> None:
    refused('reproduce', 'table9', said=("no table 'table9'", 'table1, table2', 'supp3', 'all'))


def test_folders_of_weights(refused, tmp_path) -> None:
    refused('reproduce', 'table2', '--checkpoints', 'nowhere', said=('nowhere is not a folder',))
    said = ('holds none of vit_s_k400, vit_s_ssv2, vit_b_k400', '.safetensors')
    refused('reproduce', 'table2', '--checkpoints', tmp_path, said=said)
    for name in ('vit_s_k400.pth', 'vit_s_k400.safetensors'):
        (tmp_path / name).touch()
    said = ('vit_s_k400.pth and vit_s_k400.safetensors are both vit_s_k400',)
    refused('reproduce', 'table2', '--checkpoints', tmp_path, said=said)


def test_data_that_is_not_there(refused, tmp_path) -> None:
    (tmp_path / 'vit_s_k400.pth').touch()
    said = ('data/kinetics400/kinetics400_val_list_videos.txt does not exist', 'data/README.md')
    refused('reproduce', 'table2', '--checkpoints', tmp_path, said=said)
    refused('reproduce', 'table2', '--data', 'nowhere', said=('nowhere/kinetics400/', 'sthv2'))


def test_a_checkpoint_that_is_none(refused, tmp_path) -> None:
    (tmp_path / 'vit_b_ssv2.pth').write_text('not found')
    (tmp_path / 'sthv2/videos').mkdir(parents=True)
    (tmp_path / 'sthv2/videos/a.mp4').touch()
    (tmp_path / 'sthv2/sthv2_val_list_videos.txt').write_text('a.mp4 0\n')
    folders = ('--checkpoints', tmp_path, '--data', tmp_path)
    refused('reproduce', 'table5', *folders, said=('vit_b_ssv2.pth',))


@pytest.mark.parametrize('option', ['--checkpoints', '--data'])
def test_a_smoke_run_brings_its_own(refused, option) -> None:
    said = ('--smoke brings its own models and videos',)
    refused('reproduce', 'all', '--smoke', option, ROOT, said=said)
