"""Both decoders: the same frames, upright; and what is no video is refused with its reason."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import av
import numpy as np
import pytest

from sta.datasets.decoding import DECODERS, check_file, open_video, read_header, stated_size, turned
from sta.errors import VideoError
from tests.datasets.movies import (
    BROKEN,
    frame_numbers,
    write_av1,
    write_movie,
    write_odd_size,
    write_rotated,
    write_variable_rate,
)
from tests.datasets.numbered import Kind, make_video

REAL = Path(__file__).resolve().parents[2] / '../shared/videos'


@pytest.mark.parametrize('decoder', DECODERS)
@pytest.mark.parametrize('name', BROKEN)
def test_what_is_broken_is_refused_with_its_reason(name: str, decoder: str, tmp_path: Path) -> None:
    make, reason = BROKEN[name]
    make(tmp_path / name)
    with pytest.raises(VideoError) as caught:
        reader = open_video(tmp_path / name, decoder=decoder)
        reader.frames(range(len(reader)))
    said = str(caught.value)
    assert said.startswith(('it ', 'there ', 'frame ', 'decord '))
    assert '\n' not in said and len(said) < 200
    if decoder == 'pyav':  # the last word
        assert reason in said


@pytest.mark.parametrize(
    'text',
    [
        'ffconcat version 1.0\nfile film.mp4\n',
        '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfilm.mp4\n#EXT-X-ENDLIST\n',
        '#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/film.mp4\n',
    ],
)
@pytest.mark.parametrize('name', ['list.mp4', 'list.m3u8'])
def test_a_list_of_other_files_is_no_video(name: str, text: str, tmp_path: Path) -> None:
    """A file from a stranger must not choose which other file or address is opened."""
    write_movie(tmp_path / 'film.mp4')
    (tmp_path / name).write_text(text)
    with pytest.raises(VideoError, match='^it (is no video but a list|cannot be decoded)'):
        open_video(tmp_path / name)


@pytest.mark.parametrize('decoder', DECODERS)
@pytest.mark.parametrize('num_frames', [1, 2, 42])
def test_frames_by_number_in_any_order(decoder: str, num_frames: int, tmp_path: Path) -> None:
    path = write_movie(tmp_path / 'film.mp4', num_frames=num_frames)
    reader = open_video(path, decoder=decoder)
    asked = [num_frames - 1, 0, num_frames // 2, 0]
    assert len(reader) == num_frames
    assert frame_numbers(reader.frames(asked)) == asked
    assert reader.avg_fps == pytest.approx(10, abs=1e-3)


@pytest.mark.parametrize('decoder', DECODERS)
def test_a_variable_frame_rate_changes_no_number(decoder: str, tmp_path: Path) -> None:
    path = write_variable_rate(tmp_path / 'film.mp4', num_frames=30)
    reader = open_video(path, decoder=decoder)
    assert frame_numbers(reader.frames(range(30))) == [*range(30)]


@pytest.mark.parametrize('decoder', DECODERS)
@pytest.mark.parametrize(
    ('degrees', 'shape', 'dark'),
    [(90, (128, 64), np.s_[:62]), (180, (64, 128), np.s_[:, 66:]), (270, (128, 64), np.s_[66:])],
)
def test_a_turned_video_is_shown_upright(
    decoder: str, degrees: int, shape: tuple[int, int], dark: tuple, tmp_path: Path
) -> None:
    """The left half is dark: turned clockwise by 90 degrees that is the upper half."""
    path = write_rotated(tmp_path / 'film.mp4', degrees)
    frame = open_video(path, decoder=decoder).frames([3])[0]
    assert frame.shape[:2] == shape
    assert frame[dark].max() < 40
    assert (frame > 150).mean() > 0.4


@pytest.mark.parametrize(
    ('matrix', 'shown'),
    [
        ((1, 0, 0, 1), [[1, 2], [3, 4], [5, 6]]),
        ((-1, 0, 0, 1), [[2, 1], [4, 3], [6, 5]]),  # mirrored
        ((1, 0, 0, -1), [[5, 6], [3, 4], [1, 2]]),
        ((-1, 0, 0, -1), [[6, 5], [4, 3], [2, 1]]),  # half a turn
        ((0, 1, -1, 0), [[5, 3, 1], [6, 4, 2]]),  # a quarter turn clockwise
        ((0, -1, 1, 0), [[2, 4, 6], [1, 3, 5]]),
        ((0, 1, 1, 0), [[1, 3, 5], [2, 4, 6]]),  # transposed, as a mirrored selfie
    ],
)
def test_display_matrices(matrix: tuple, shown: list) -> None:
    pixels = np.array([[1, 2], [3, 4], [5, 6]])[..., None].repeat(3, -1)
    scaled = tuple(value << 16 for value in matrix)
    np.testing.assert_array_equal(turned(pixels, scaled)[..., 0], shown)


@pytest.mark.parametrize('decoder', DECODERS)
@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_a_matroska_file_is_turned_as_its_mp4(decoder: str, degrees: int, tmp_path: Path) -> None:
    """Matroska keeps the rotation where decord does not look for it."""
    mp4 = write_rotated(tmp_path / 'film.mp4', degrees)
    mkv = tmp_path / 'film.mkv'
    with av.open(str(mp4)) as source, av.open(str(mkv), 'w') as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    frames = [open_video(path, decoder=decoder).frames([3])[0] for path in (mp4, mkv)]
    np.testing.assert_array_equal(*frames)


@pytest.mark.parametrize('decoder', DECODERS)
def test_odd_sizes(decoder: str, tmp_path: Path) -> None:
    frames = open_video(write_odd_size(tmp_path / 'film.mkv'), decoder=decoder).frames(range(6))
    assert frames.shape == (6, 77, 101, 3)
    assert frame_numbers(frames) == [*range(6)]


@pytest.mark.parametrize('decoder', DECODERS)
def test_a_wrong_extension_does_not_matter(decoder: str, tmp_path: Path) -> None:
    path = write_movie(tmp_path / 'film.mp4', num_frames=5).rename(tmp_path / 'film.txt')
    assert frame_numbers(open_video(path, decoder=decoder).frames(range(5))) == [*range(5)]


@pytest.mark.parametrize('decoder', DECODERS)
def test_a_colon_in_a_name(decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg would take it for a protocol."""
    monkeypatch.chdir(tmp_path)
    path = write_movie(Path('12:30.mp4'), num_frames=5)
    assert frame_numbers(open_video(path, decoder=decoder).frames(range(5))) == [*range(5)]


def test_only_pyav_knows_av1(tmp_path: Path) -> None:
    path = write_av1(tmp_path / 'film.mp4')
    with pytest.raises(VideoError, match='^decord cannot decode it: '):
        open_video(path, decoder='decord').frames([0])
    assert frame_numbers(open_video(path, decoder='pyav').frames(range(6))) == [*range(6)]


@pytest.mark.parametrize(
    'kind',
    [
        Kind('libx264', '.mp4'),
        Kind('libx264', '.mp4', pixels='yuv444p'),
        Kind('libx264', '.mkv', pixels='yuv422p'),
        Kind('libvpx-vp9', '.webm'),
        Kind('mjpeg', '.avi', pixels='yuvj420p'),
    ],
    ids=lambda kind: f'{kind.codec}-{kind.pixels}',
)
def test_progressive_frames_of_8_bits_are_the_same_to_the_last_bit(
    kind: Kind, tmp_path: Path
) -> None:
    path = make_video(kind, tmp_path)
    one, other = (open_video(path, decoder=d).frames(range(0, 40, 3)) for d in DECODERS)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('video', sorted(REAL.glob('*.mp4')) or [None], ids=lambda p: p and p.stem)
def test_both_decoders_agree_to_the_last_bit(video: Path | None) -> None:
    if video is None:
        pytest.skip(f'no real clips at {REAL}')
    readers = [open_video(video, decoder=decoder) for decoder in DECODERS]
    assert len(readers[0]) == len(readers[1])
    places = np.linspace(0, len(readers[0]) - 1, 20).astype(int).tolist()
    one, other = (reader.frames(places) for reader in readers)
    np.testing.assert_array_equal(one, other)


def test_what_a_header_says(tmp_path: Path) -> None:
    facts = read_header(write_movie(tmp_path / 'film.mp4', width=64, height=48, rate=10))
    assert (facts.width, facts.height, facts.codec) == (64, 48, 'h264')
    assert facts.fps == pytest.approx(10)


def test_an_unknown_decoder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of .*, got 'opencv'"):
        open_video(tmp_path / 'film.mp4', decoder='opencv')


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_movie(tmp_path / 'film.mp4')
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read everything
        monkeypatch.setattr('builtins.open', _refusing)
    with pytest.raises(VideoError, match='^no permission to read it$'):
        check_file(path)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def _refusing(*_: object) -> None:
    raise PermissionError(13, 'Permission denied')


@pytest.mark.parametrize('suffix', ['.mp4', '.mov', '.mkv', '.webm', '.avi'])
def test_whole_containers_state_their_own_size(suffix: str, tmp_path: Path) -> None:
    if suffix == '.webm':  # holds no H.264, but Matroska under another name
        path = write_movie(tmp_path / 'film.mkv').rename(tmp_path / 'film.webm')
    else:
        path = write_movie(tmp_path / f'film{suffix}')
    with path.open('rb') as file:
        assert stated_size(file) == path.stat().st_size
    check_file(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(VideoError, match=f'truncated: {len(content) - 1} of at least'):
        check_file(path)


@pytest.mark.parametrize('tail', [b'\0' * 100, b'\xff' * 100, b'TAG', b'\xad:.\x84' + b'\1\2\3\4'])
def test_what_others_append_is_no_reason_to_refuse(tail: bytes, tmp_path: Path) -> None:
    path = write_movie(tmp_path / 'film.mp4')
    path.write_bytes(path.read_bytes() + tail)
    check_file(path)


def test_a_live_stream_states_no_size(tmp_path: Path) -> None:
    path = write_movie(tmp_path / 'film.mkv')
    content = bytearray(path.read_bytes())
    size_at = content.index(b'\x18\x53\x80\x67') + 4
    assert content[size_at] == 1  # a size of eight bytes
    content[size_at : size_at + 8] = b'\x01' + b'\xff' * 7
    path.write_bytes(content[:-40])
    check_file(path)


def test_a_box_of_eight_byte_size(tmp_path: Path) -> None:
    path = tmp_path / 'film.mp4'
    path.write_bytes(b'\0\0\0\x08free' + b'\0\0\0\x01mdat' + (50).to_bytes(8, 'big'))
    with pytest.raises(VideoError, match='truncated: 24 of at least 58 bytes'):
        check_file(path)
