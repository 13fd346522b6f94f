"""Frame k is the k-th frame that a player shows, whatever the file; or the file is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from sta.datasets.decoding import (
    COUNTED,
    MiscountError,
    PyAVReader,
    _hides,
    _video_stream,
    open_video,
)
from sta.errors import VideoError
from tests.datasets.numbered import (
    HEIGHT,
    NUM_FRAMES,
    WIDTH,
    Kind,
    encode,
    grid,
    make_video,
    numbers_of,
    picture,
    shown,
)

os.environ.setdefault('SVT_LOG', '1')


def check(path: Path, truth: list[int] | None = None) -> PyAVReader:
    """Ask for frames in the ways in which samplers do, each time of a new reader."""
    truth = shown(path) if truth is None else truth
    length = len(open_video(path))
    assert length == len(truth)
    for places in (
        range(length),
        range(0, length, 4),
        range(3, length, 8),
        [length - 1],
        [length // 2, 3, length // 3, 3],
    ):
        reader = open_video(path)
        assert numbers_of(reader.frames(list(places))) == [truth[place] for place in places]
        assert len(reader) == length
    return reader


@pytest.mark.parametrize('kind', grid(), ids=lambda kind: kind.name)
def test_the_grid(kind: Kind, tmp_path: Path) -> None:
    path = make_video(kind, tmp_path)
    truth = shown(path)
    if not kind.cut:
        assert truth == [*range(NUM_FRAMES)]
    check(path, truth)


@pytest.mark.parametrize(
    ('kind', 'by_packets'),
    [
        (Kind('libx264', '.mp4', b_frames=3), True),
        (Kind('libx264', '.mkv', b_frames=3, times='varying'), True),
        (Kind('libx264', '.mp4', b_frames=3, options={'x264-params': 'open-gop=1'}), True),
        (Kind('libvpx-vp9', '.webm'), True),
        (Kind('libx264', '.mp4', b_frames=3, cut=0.9), False),
        (Kind('libx264', '.ts', b_frames=3), False),
        (Kind('mpeg4', '.avi', b_frames=2), False),
    ],
    ids=lambda value: getattr(value, 'name', None),
)
def test_usual_files_are_not_decoded_to_be_counted(
    kind: Kind, by_packets: bool, tmp_path: Path
) -> None:
    path = make_video(kind, tmp_path)
    reader = open_video(path)
    assert reader.name == ('pyav' if by_packets else COUNTED)
    reader.decode_all()
    assert reader.name == ('pyav' if by_packets else COUNTED)


def test_a_late_frame_is_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frames of the last group of pictures cost no more than that group."""
    path = make_video(Kind('libx264', '.mp4', gop=10, b_frames=2), tmp_path)
    reader = open_video(path)
    decoded = [place for place, _ in reader._decoded([35])]
    assert decoded == [*range(30, 36)]
    assert [place for place, _ in reader._decoded([5, 8, 12, 35])] == [
        *range(9),
        *range(10, 13),
        *range(30, 36),
    ]


@pytest.mark.parametrize('room', [0, 1 << 30])
def test_counted_frames_are_kept_while_they_are_small(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(Kind('mpeg4', '.avi', b_frames=2), tmp_path)
    monkeypatch.setattr('sta.datasets.decoding._BYTES_KEPT', room)
    reader = open_video(path)
    assert (reader._kept is None) == (room == 0)
    assert numbers_of(reader.frames([30, 7, 39])) == [30, 7, 39]


def test_a_fragmented_file(tmp_path: Path) -> None:
    """As it is sent over the net in pieces: the index of each stands before it."""
    whole = make_video(Kind('libx264', '.mp4', b_frames=2), tmp_path)
    path = tmp_path / 'pieces.mp4'
    _copy(whole, path, options={'movflags': 'frag_keyframe+empty_moov+default_base_moof'})
    assert path.read_bytes().count(b'moof') == 4
    check(path, [*range(NUM_FRAMES)])


def test_frames_that_vp8_hides(tmp_path: Path) -> None:
    """A frame that later ones refer to and nobody sees: bit 4 of its first byte is 0."""
    path = tmp_path / 'hidden.webm'
    _copy(make_video(Kind('libvpx', '.webm'), tmp_path), path, change=_hide_every_fifth)
    truth = [number for number in range(NUM_FRAMES) if number % 5 != 4]
    assert shown(path) == truth
    assert check(path, truth).name == COUNTED


@pytest.mark.parametrize(
    ('first', 'last', 'hides'),
    [
        (0x82, 0x00, False),  # a key frame
        (0x86, 0x00, False),  # another frame
        (0x84, 0x00, True),
        (0x84, 0xC1, False),  # several in a packet, the last of which is shown
        (0x88, 0x00, False),  # shows a frame that was decoded before
        (0xB2, 0x00, True),  # profile 3
        (0xB3, 0x00, False),
    ],
)
def test_frames_that_vp9_hides(first: int, last: int, hides: bool) -> None:
    assert _hides(av.Packet(bytes([first, 0, 0, last])), 'vp9') is hides


def test_two_frames_in_a_packet(tmp_path: Path) -> None:
    """DivX's packed bitstream: a B-frame rides with the frame before it, a dummy takes its turn."""
    whole = make_video(Kind('mpeg4', '.avi', b_frames=1), tmp_path)
    path = tmp_path / 'packed.avi'
    _pack(whole, path)
    assert shown(path) == [*range(NUM_FRAMES)]
    assert check(path).name == COUNTED


def test_a_cover_picture_is_not_the_video() -> None:
    picture_first = [
        SimpleNamespace(name='cover', disposition=av.stream.Disposition.attached_pic),
        SimpleNamespace(name='film', disposition=av.stream.Disposition.default),
    ]
    container = SimpleNamespace(streams=SimpleNamespace(video=picture_first))
    assert _video_stream(container).name == 'film'


@pytest.mark.parametrize('suffix', ['.h264', '.ts', '.mkv'])
def test_a_size_that_changes_is_said(suffix: str, tmp_path: Path) -> None:
    raw = Kind('libx264', '.h264', 12, 0, container='h264')
    small = encode(tmp_path / 'small.h264', raw, map(picture, range(12))).read_bytes()
    doubled = (np.kron(picture(i), np.ones((2, 2, 1), np.uint8)) for i in range(12))
    large = encode(tmp_path / 'large.h264', raw, doubled, scale=2).read_bytes()
    joined = tmp_path / 'joined.h264'
    joined.write_bytes(small + large)
    path = tmp_path / f'changes{suffix}'
    if suffix == '.h264':
        joined.rename(path)
    else:
        _copy(joined, path, stamp=True)
    reader = open_video(path)
    assert numbers_of(reader.frames([3, 11])) == [3, 11]
    said = (
        f'^its frames change in size: {WIDTH} x {HEIGHT} pixels, but {2 * WIDTH} x {2 * HEIGHT} '
        f'at frame 12$'
    )
    with pytest.raises(VideoError, match=said):
        open_video(path).frames([3, 15])
    with pytest.raises(VideoError, match=said):
        open_video(path).decode_all()


def test_packets_that_announce_too_many_frames(tmp_path: Path) -> None:
    """The reader notices when it decodes, counts, and is right from then on."""
    path = make_video(Kind('libx264', '.mp4', b_frames=2), tmp_path)
    reader = open_video(path)
    times = reader._index.times
    reader._index = reader._index.__class__((*times, times[-1] + 512), reader._index.keys)
    reader._length = NUM_FRAMES + 1
    with pytest.raises(MiscountError, match='^its packets announce 41 frames, it shows 40$'):
        reader.frames([2, 40])
    assert (len(reader), reader.name) == (NUM_FRAMES, COUNTED)
    assert numbers_of(reader.frames([2, 39])) == [2, 39]


def test_time_stamps_that_are_none_of_the_announced(tmp_path: Path) -> None:
    path = make_video(Kind('libx264', '.mp4', b_frames=2), tmp_path)
    reader = open_video(path)
    times = [*reader._index.times]
    times[20] += 1
    reader._index = reader._index.__class__(tuple(times), reader._index.keys)
    assert numbers_of(reader.frames([5, 22])) == [5, 22]
    assert reader.name == COUNTED


def _copy(
    source: Path,
    target: Path,
    *,
    change: Callable[[int, bytes], bytes] = lambda number, content: content,
    bitstream_filter: str = 'null',
    stamp: bool = False,
    options: dict[str, str] | None = None,
) -> None:
    """Copy the packets of a video.

    Args:
        change: given the number and the content of a packet, returns what is written.
        bitstream_filter: FFmpeg's name.
        stamp: give the packets times in their order.
        options: of the container.
    """
    with av.open(str(source)) as old, av.open(str(target), 'w', options=options or {}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        split = av.BitStreamFilterContext(bitstream_filter, old.streams.video[0])
        packets = (part for packet in old.demux(video=0) for part in split.filter(packet))
        for number, packet in enumerate(packet for packet in packets if packet.size):
            made = av.Packet(change(number, bytes(packet)))
            made.time_base, made.is_keyframe = packet.time_base, packet.is_keyframe
            made.pts, made.dts = packet.pts, packet.dts
            if stamp:
                made.time_base, made.pts, made.dts = Fraction(1, 25), number, number
            made.stream = stream
            new.mux(made)


def _hide_every_fifth(number: int, content: bytes) -> bytes:
    return bytes([content[0] & ~0x10]) + content[1:] if number % 5 == 4 else content


def _pack(source: Path, target: Path) -> None:
    """Put each B-frame behind the frame before it, as DivX 5 does in AVI."""
    with av.open(str(source)) as old:
        contents = [bytes(packet) for packet in old.demux(video=0) if packet.size]
    first = contents[0].index(b'\0\0\1\xb6')
    contents[0] = contents[0][:first] + b'\0\0\1\xb2DivX503b1393p\0' + contents[0][first:]
    packed: list[bytes] = []
    for content in contents:
        # Type of the frame: I, P, B in the two bits behind the start code.
        if content[content.index(b'\0\0\1\xb6') + 4] >> 6 == 2:
            packed[-1] += content
            packed.append(b'\x7f')
        else:
            packed.append(content)
    _copy(source, target, change=lambda number, _: packed[number])
