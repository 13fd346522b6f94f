"""The picture of one's own video: what it shows, and what cannot be shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sta.checkpoints import load_checkpoint
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.pruning import Variant, origins
from sta.visualization import read_views
from sta.visualization.maps import EDGE

from .tiny import ROOT, run_tool

TOOL = 'visualize_tokens'


@pytest.fixture
def video(tiny) -> Path:
    return tiny.folder / 'videos' / tiny.names[2]


@pytest.fixture
def given(tiny, video) -> tuple[Path, Path, Path]:
    return tiny.one_view, tiny.checkpoint, video


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert('RGB'))


def panel_corner(sheet: np.ndarray, frame: np.ndarray) -> tuple[int, int]:
    """Row and column of the first place where a panel stands, enlarged to 128 pixels."""
    large = frame.repeat(4, axis=0).repeat(4, axis=1)
    for y, x in zip(*np.nonzero((sheet == large[0, 0]).all(-1))):
        part = sheet[y : y + 128, x : x + 128]
        if part.shape == large.shape and (part == large).all():
            return int(y), int(x)
    raise AssertionError('the frame is not in the picture')


def test_the_white_patches_are_those_the_model_dropped(tiny, given, video, tmp_path) -> None:
    """Found in the file by the first frame's pixels; every patch of every tubelet and stage."""
    for name in ('a.png', 'again.png'):
        assert run_tool(TOOL, *given, '--schedule', '4', '--out', tmp_path / name) == 0
    assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'again.png').read_bytes()
    sheet = picture(tmp_path / 'a.png')
    config = load_config(str(tiny.one_view))
    model = build_model(config)
    load_checkpoint(model, str(tiny.checkpoint))
    view = next(read_views(config, model.eval(), [video]))
    with torch.no_grad(), model.backbone.using(Variant('sta', {'type': 'STAPruner'}, 4)):
        kept = model.backbone(view.clip, return_kept=True)[1]
    top, left = panel_corner(sheet, view.frames[0])
    for stage, places in enumerate(origins(kept), start=1):
        alive = set(places[0].tolist())
        assert len(alive) == 128 - {1: 32, 2: 48, 3: 56}[stage]
        for token in range(128):
            t, row, column = token // 16, token // 4 % 4, token % 4
            y, x = top + stage * 132 + 32 * row, left + t * 132 + 32 * column
            patch = sheet[y : y + 32, x : x + 32]
            if token in alive:
                frame = view.frames[2 * t, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                assert (patch[::4, ::4] == frame).all()
            else:
                assert (patch[4:, 4:] == 255).all() and (patch[:4] == EDGE).all()


@pytest.mark.parametrize('suffix', ['gif', 'mp4'])
def test_films(given, tmp_path, suffix) -> None:
    out = tmp_path / f'a.{suffix}'
    assert run_tool(TOOL, *given, '--schedule', '4', '--out', out) == 0
    with av.open(str(out)) as container:
        frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    assert len(frames) == 16
    assert frames[0].shape == (8 + 32 + 8 + 2 * 228 + 8, 796, 3)
    # The first panel changes with the frames, white patches only with the tubelets.
    panels = [frame[80:272, 8:200].astype(int) for frame in frames]
    assert np.abs(panels[0] - panels[1]).mean() > 3
    white = [(frame[80:272, 204:400].min(-1) > 235).mean() for frame in frames]
    assert white[0] == pytest.approx(0.25, abs=0.08) and white[8] == pytest.approx(0.25, abs=0.08)


def test_a_folder(tiny, video, tmp_path, capsys) -> None:
    """A picture per video, also of two that share a stem, and one of all; one is broken."""
    folder = tmp_path / 'mine'
    (folder / 'deep').mkdir(parents=True)
    shutil.copy(video, folder / 'one.mp4')
    shutil.copy(video, folder / 'deep/one.mp4')
    shutil.copy(video, folder / 'contact_sheet.mp4')
    (folder / 'empty.mp4').touch()
    given = (tiny.one_view, tiny.checkpoint, folder)
    assert run_tool(TOOL, *given, '--schedule', '2', '--out', tmp_path / 'out') == 0
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == [
        '1_contact_sheet.mp4.png',
        '2_one.mp4.png',
        '4_one.mp4.png',
        'contact_sheet.png',
    ]
    assert capsys.readouterr().err == f'left out: {folder}/empty.mp4: it is empty (0 bytes)\n'
    assert picture(tmp_path / 'out/contact_sheet.png').shape == (26 + 3 * 154, 556, 3)


def test_the_default_places(tiny, given, video, tmp_path, capsys) -> None:
    """The config's last schedule; below work_dirs of the current folder."""
    assert run_tool(TOOL, *given) == 0
    one = 'work_dirs/one_view/pictures/clip 2_sta-4.png'
    assert (tmp_path / one).is_file() and f'written to {one}' in capsys.readouterr().out
    Path('mine').mkdir()
    shutil.copy(video, 'mine/a b.mp4')
    folder = (tiny.one_view, tiny.checkpoint, 'mine')
    assert run_tool(TOOL, *folder, '--schedule', '2', '--format', 'gif') == 0
    written = list((tmp_path / 'work_dirs/one_view/pictures/mine_sta-2').iterdir())
    assert sorted(p.name for p in written) == ['a b.gif', 'contact_sheet.png']


def test_nothing_dropped_shows_gradients_alone(given, tmp_path, capsys) -> None:
    assert run_tool(TOOL, *given, '--schedule', '0', '--out', tmp_path / 'a.png') == 0
    assert 'nothing is dropped, so nothing is ranked' in capsys.readouterr().out
    assert picture(tmp_path / 'a.png').shape[0] == 8 + 48 + 2 + 2 * 132 - 4 + 8


def test_random_has_no_scores_to_show(given, tmp_path, capsys) -> None:
    out = tmp_path / 'a.png'
    assert run_tool(TOOL, *given, '--schedule', '4', '--pruner', 'random', '--out', out) == 0
    assert 'random-4 ranks by no importance' in capsys.readouterr().out
    assert picture(out).shape[0] == 58 + 5 * 132 - 4 + 8


def test_the_middle_of_several_views(tiny, video, tmp_path, capsys) -> None:
    out = tmp_path / 'a.png'
    given = (tiny.six_views, tiny.checkpoint, video)
    assert run_tool(TOOL, *given, '--schedule', '4', '--out', out) == 0
    said = capsys.readouterr().out
    assert 'several views: shown is clip 2 of 2, the middle of 3 crops' in said


def test_another_label_is_another_gradient(given, tmp_path) -> None:
    for label in ('1', '2'):
        out = tmp_path / f'{label}.png'
        assert run_tool(TOOL, *given, '--schedule', '4', '--label', label, '--out', out) == 0
    one, other = picture(tmp_path / '1.png'), picture(tmp_path / '2.png')
    differing = np.flatnonzero((one != other).any((1, 2)))
    assert differing.min() >= 58 + 7 * 132  # the last row: nothing else depends on the label


def test_the_embedded_videoswin(tmp_path) -> None:
    config, checkpoint = ROOT / 'configs/sta_swin_motions.py', 'sta_swin_motions.safetensors'
    video = ROOT / 'data/motions/val/left_to_right_000000.mp4'
    out = tmp_path / 'a.png'
    options = ('--cfg-options', 'test_dataloader.dataset.classes=None')
    given = (config, ROOT / 'checkpoints' / checkpoint, video, '--schedule', '16,4')
    assert run_tool(TOOL, *given, '--out', out, *options) == 0
    sheet = picture(out)
    # 16 of 36 patches of 16 pixels go in stage 1, 4 of 9 of 32 pixels in stage 2.
    left = int(np.flatnonzero((sheet[200] == 255).all(-1)).min())
    assert left > 100
    white = [(sheet[y : y + 96, 100:] == 255).all(-1).sum() for y in (158, 258)]
    assert white == [8 * 16 * 15 * 15, 8 * 4 * 31 * 31]


@pytest.mark.parametrize(
    ('videos', 'more', 'said'),
    [
        ('nowhere.mp4', (), 'nowhere.mp4 does not exist'),
        ('.', (), 'holds no video (.avi, '),
        ('empty.mp4', (), 'empty.mp4 cannot be used: it is empty (0 bytes)'),
        ('VIDEO', ('--out', 'a.jpg'), '--out takes a .png, .gif, .mp4 file, got a.jpg'),
        ('VIDEO', ('--out', 'a.gif', '--format', 'mp4'), '--out takes a .mp4 file, got a.gif'),
        ('VIDEO', ('--out', 'there.png'), 'there.png exists already: give another --out'),
        ('FOLDER', ('--out', 'full'), 'full exists already: give another --out'),
        ('FOLDER', ('--out', 'a.png'), '--out of a folder of videos is a folder, got a.png'),
        ('VIDEO', ('--schedule', '16'), 'cannot drop 16 of 16 tokens per chunk'),
        ('VIDEO', ('--schedule', 'much'), "schedule 'much' is not understood"),
        ('VIDEO', ('--pruner', 'best'), "unknown pruner 'best'"),
        ('VIDEO', ('--pruner', 'tome'), 'tome-4 merges tokens and drops none'),
        ('VIDEO', ('--pruner', 'rlt'), 'rlt-0.1 drops at the input'),
        ('VIDEO', ('--stage', '4'), '--stage must be one that drops tokens, [1, 2, 3], got 4'),
        ('VIDEO', ('--stage', '1', '--schedule', '0,2,2'), 'drops tokens, [2, 3], got 1'),
        ('VIDEO', ('--label', '7'), "--label '7' is no class name and no number below 7"),
        ('VIDEO', ('--columns', '0'), '--columns must be at least 1, got 0'),
    ],
)
def test_what_cannot_be(refused, tiny, video, tmp_path, videos, more, said) -> None:
    (tmp_path / 'full').mkdir()
    for name in ('there.png', 'full/a.png', *(['empty.mp4'] if videos == 'empty.mp4' else [])):
        (tmp_path / name).touch()
    place = {'VIDEO': video, 'FOLDER': tiny.folder / 'videos'}.get(videos, videos)
    refused(TOOL, tiny.one_view, tiny.checkpoint, place, *more, said=(said,))
    assert (tmp_path / 'there.png').read_bytes() == b''


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('test_dataloader = dict(_delete_=True)', 'child.py defines no test pipeline'),
        ("test_dataloader = dict(dataset=dict(classes='ssv2'))", 'has 174 names, the model 7'),
        (
            "test_dataloader = dict(dataset=dict(pipeline=[dict(type='OpenVideo'), "
            "dict(type='UniformSample', clip_len=8, test_mode=True), dict(type='DecodeFrames'), "
            "dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]))",
            'the test pipeline does not suit the model: expected clips of shape (B, 3, 16, H, W)',
        ),
    ],
)
def test_configs_that_do_not_suit(refused, tiny, video, child, text, said) -> None:
    refused(TOOL, child(text), tiny.checkpoint, video, said=(said,))
