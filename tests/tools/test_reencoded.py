"""The embedded videos in other codecs and containers: the accuracy of the H.264 they come from."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.datasets.numbered import X265

from .tiny import ROOT, run_tool

MOTIONS = ROOT / 'data/motions'
# FFmpeg's older encoders go below a quantiser of 2 only where lmin and mblmin let them.
FINEST = {'g': '12', 'qmin': '1', 'qmax': '1', 'lmin': '1', 'mblmin': '1'}
# Encoder, suffix and options, at about the quality of the control (45 to 48 dB).
FORMS = {
    'control': ('libx264', '.mp4', {'crf': '18', 'g': '16'}),
    'xvid': ('mpeg4', '.avi', {'bf': '2', **FINEST}),
    'hevc': (
        'libx265',
        '.mp4',
        {'crf': '18', 'x265-params': f'{X265}keyint=12:min-keyint=12:open-gop=1:bframes=4'},
    ),
    'ts': ('libx264', '.ts', {'crf': '18', 'g': '12', 'bf': '3'}),
    'vp8': ('libvpx', '.webm', {'crf': '8', 'b': '2M', 'auto-alt-ref': '1', 'lag-in-frames': '16'}),
    'mpeg2': ('mpeg2video', '.mpg', {'bf': '2', **FINEST}),
    'wmv': ('wmv2', '.wmv', FINEST),
}


def encode_all(form: str, folder: Path) -> None:
    """The 480 embedded videos and their list."""
    codec, suffix, options = FORMS[form]
    lines = []
    for line in (MOTIONS / 'val.txt').read_text().splitlines():
        name, label = line.rsplit(maxsplit=1)
        target = (folder / name).with_suffix(suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        encode_anew(MOTIONS / name, target, codec, options)
        lines.append(f'{target.relative_to(folder)} {label}\n')
    (folder / 'list.txt').write_text(''.join(lines))


def top1(form: str, folder: Path, *, decoder: str = 'pyav') -> float:
    """Unpruned top-1 of the embedded model in percent."""
    arguments = [
        *('test', ROOT / 'configs/sta_vit_motions.py'),
        *(ROOT / 'checkpoints/sta_vit_motions.safetensors', '--schedules', '0', '--examples', '0'),
        *('--work-dir', folder / decoder, '--cfg-options'),
        f'test_dataloader.dataset.ann_file={folder / "list.txt"}',
        f'test_dataloader.dataset.data_prefix.video={folder}',
        f'test_dataloader.dataset.decoders={decoder}',
    ]
    assert run_tool(*arguments) == 0
    result = json.loads((folder / decoder / 'results.json').read_text())
    [row] = result['rows']
    decoded_by = result['environment']['decoded_by']
    print(f'{form}, {decoder}: {row["top1_percent"]:.2f} %, {decoded_by}')
    assert sum(decoded_by.values()) == 480
    return row['top1_percent']


def encode_anew(source: Path, target: Path, codec: str, options: dict[str, str]) -> None:
    with av.open(str(source)) as old, av.open(str(target), 'w') as new:
        stream = new.add_stream(codec, rate=25, options=options)
        context = old.streams.video[0].codec_context
        stream.width, stream.height, stream.pix_fmt = context.width, context.height, 'yuv420p'
        stream.codec_context.thread_count = 1
        for number, frame in enumerate(old.decode(video=0)):
            frame = frame.reformat(format='yuv420p')
            frame.pts, frame.time_base = number, Fraction(1, 25)
            frame.pict_type = av.video.frame.PictureType.NONE
            new.mux(stream.encode(frame))
        new.mux(stream.encode())


@pytest.fixture(autouse=True)
def _where_the_config_looks(monkeypatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope='module')
def control(tmp_path_factory) -> float:
    folder = tmp_path_factory.mktemp('control')
    encode_all('control', folder)
    return top1('control', folder)


@pytest.mark.slow
@pytest.mark.parametrize('form', [form for form in FORMS if form != 'control'])
def test_the_accuracy_of_the_control(form, control, tmp_path) -> None:
    encode_all(form, tmp_path)
    assert top1(form, tmp_path) == pytest.approx(control, abs=1)
    top1(form, tmp_path, decoder='decord')  # for the reader of -s: nothing is promised of it
