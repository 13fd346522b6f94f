"""Options of a command line written as a config, which must say the same as merging them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sta.engine.config import load_config
from sta.errors import ConfigError
from sta.search.outputs import overrides_of, write_config
from tests.tools.tiny import Tiny

STAGES = [{'after_block': 0, 'num_chunks': 8, 'num_drop': 7, 'backward': False}]
PIPELINE = 'test_dataloader.dataset.pipeline'


def written(tiny: Tiny, path: Path, options: list[str], heldout: Path | None = None) -> str:
    write_config(
        path,
        base=str(tiny.one_view),
        stages=STAGES,
        paper=[3, 3, 3],
        pruner={'type': 'STAPruner'},
        command='python tools/search_schedule.py ...',
        found='5 GFLOPs',
        overrides=overrides_of(load_config(str(tiny.one_view), options), options),
        heldout=heldout,
    )
    return path.read_text()


@pytest.mark.parametrize(
    'options',
    [
        [],
        ['model.backbone.depth=2', 'model.cls_head.dropout_ratio=0.25'],
        [f'{PIPELINE}.1.clip_len=8', 'model.backbone.num_frames=8'],
        ["model.backbone={'_delete_': True, 'type': 'STAVisionTransformer', 'depth': 2}"],
        ["test_dataloader.dataset.data_prefix={'video': 'elsewhere'}", 'test_dataloader.x=(1, 2)'],
        ['test_cfg.precision=bf16', 'test_cfg.max_views_per_forward=3', 'test_cfg.schedules=[5]'],
        ['test_cfg.pruners.1.seed=4', 'work_dir=a "b" c', "randomness={'seed': None}"],
    ],
)
def test_the_written_config_is_the_one_that_was_searched(
    tiny: Tiny, tmp_path: Path, options: list[str]
) -> None:
    path = tmp_path / 'found.py'
    written(tiny, path, options)
    found, merged = load_config(str(path)), load_config(str(tiny.one_view), options)
    searched = dict(name='searched', schedule=STAGES)
    merged.test_cfg.schedules = [0, dict(name='paper', schedule=[3, 3, 3]), searched]
    merged.test_cfg.pruners = [dict(type='STAPruner')]
    assert found.to_dict() == merged.to_dict()


@pytest.mark.parametrize('option', ['test_cfg.limit=1e999', 'class=1', 'model.x=[1e999]'])
def test_what_no_config_can_say_is_refused(tiny: Tiny, option: str) -> None:
    config = load_config(str(tiny.one_view), [option])
    key = option.split('.')[0].split('=')[0]
    with pytest.raises(ConfigError, match=f"--cfg-options: '{key}' cannot be written into"):
        overrides_of(config, [option])


def test_the_header_says_which_videos_it_evaluates(tiny: Tiny, tmp_path: Path) -> None:
    text = written(tiny, tmp_path / 'a.py', [], heldout=Path('work dirs/heldout.txt'))
    assert 'the whole test list, the videos that were searched on included' in text
    assert "test_dataloader.dataset.ann_file='work dirs/heldout.txt'\n" in text
    assert 'whole test list' not in written(tiny, tmp_path / 'b.py', [])
