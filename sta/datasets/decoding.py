"""Frames of a video by their number: exactly those that a player shows."""

from __future__ import annotations

import os
import stat
import struct
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from types import SimpleNamespace
from typing import Any, BinaryIO, NamedTuple, TypeVar

import av
import decord
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import VideoReformatter

from sta.errors import VideoError

# A damaged video is reported once, by the data set; FFmpeg's own lines would come on top.
decord.logging.set_level(decord.logging.QUIET)
av.logging.set_level(av.logging.PANIC)

DECODERS = ('pyav', 'decord')
# decord is exact only on files whose groups of pictures are closed and begin with the file, and
# says nothing where it is not: no evaluation falls back on it unasked.
DEFAULT_DECODERS = ('pyav',)
# PyAV where the packets do not say which frames are shown.
COUNTED = 'pyav (counted)'
# FFmpeg takes pictures and even plain text for videos of a frame or two.
_NO_VIDEO_FORMATS = ('tty', 'image2', 'bin', 'xbin', 'adf', 'idf', 'txd')
# Lists of other files: what is decoded must be what the data set names.
_PLAYLISTS = ('concat', 'hls', 'dash', 'imf', 'webm_dash_manifest', 'sdp')
# Eight frames of 4K take 200 MB; more at once are no faster.
_FRAMES_AT_ONCE = 8
# Decoded frames of one video that are kept: 10 s of 340 x 256 pixels take 40 MB.
_BYTES_KEPT = 128 << 20
_UPRIGHT = (1, 0, 0, 1)
_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_Answer = TypeVar('_Answer')


class MiscountError(VideoError):
    """The packets of a file announced another number of frames than it shows.

    The reader that raises it has counted them: its length is right from then on.
    """


class _PacketsError(Exception):
    """The packets of a file do not say which frames it shows."""


class VideoReader(ABC):
    """What both decoders offer, to our DecodeFrames and to mmaction2's DecordDecode.

    mmaction2's inferencer puts DecordDecode in the place of whatever decodes in a pipeline.

    Attributes:
        avg_fps: average frames per second; 0 where unknown.
        name: what decodes: 'decord', 'pyav', or :data:`COUNTED`.
    """

    avg_fps: float

    @property
    @abstractmethod
    def name(self) -> str:
        """What decodes, see above."""

    @abstractmethod
    def __len__(self) -> int:
        """Frames of the video."""

    @abstractmethod
    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """(len(indices), H, W, 3) uint8 RGB, upright, in the order asked for."""

    @abstractmethod
    def decode_all(self) -> None:
        """Decode every frame and keep none; raises VideoError at the first that fails."""

    def get_batch(self, indices: Sequence[int]) -> SimpleNamespace:
        """Frames as decord returns them: an object with ``asnumpy()``."""
        frames = self.frames(np.asarray(indices).ravel().tolist())
        return SimpleNamespace(asnumpy=lambda: frames)


class VideoFacts(NamedTuple):
    """What the header of a video says.

    Attributes:
        width, height: of an upright frame, in pixels.
        fps: average frames per second; 0 where unknown.
        codec: FFmpeg's name, e.g. 'h264'.
    """

    width: int
    height: int
    fps: float
    codec: str


def read_header(path: str | os.PathLike[str]) -> VideoFacts:
    """Check that a file is a video; decodes nothing.

    Raises:
        VideoError: no video stream, a picture, or no container that FFmpeg knows; see check_file.
    """
    check_file(path)
    with _opened(path) as container:
        name = container.format.name
        if name in _NO_VIDEO_FORMATS or name.endswith('_pipe'):
            raise VideoError(f'it is no video but {name.removesuffix("_pipe")!r}')
        if not set(name.split(',')).isdisjoint(_PLAYLISTS):
            raise VideoError(f'it is no video but a list of other files ({name})')
        stream = _video_stream(container)
        context = stream.codec_context
        fps = float(stream.average_rate or 0)
        return VideoFacts(context.width, context.height, fps, context.name)


def open_video(
    path: str | os.PathLike[str],
    *,
    decoder: str = 'pyav',
    num_threads: int = 1,
    recount: bool = False,
) -> VideoReader:
    """Open a video, in the process that will decode it.

    Args:
        path: the file.
        decoder: 'pyav', or 'decord', which was the published evaluations' and shows other frames
            where it cannot index a file.
        num_threads: of the decoder.
        recount: let PyAV count the frames by decoding them, whatever the packets announce.

    Raises:
        VideoError: it cannot be opened, or holds no frame.
    """
    if decoder not in DECODERS:
        raise ValueError(f'decoder must be one of {list(DECODERS)}, got {decoder!r}')
    read_header(path)
    reader: VideoReader
    if decoder == 'decord':
        reader = DecordReader(path, num_threads)
    else:
        reader = PyAVReader(path, num_threads, recount=recount)
    if len(reader) == 0:
        raise VideoError('it holds no frame')
    return reader


class DecordReader(VideoReader):
    """decord, as in the published evaluations; its frames, whether they are the right ones or not.

    Right are those of files with closed groups of pictures, one frame a packet, from the first.
    """

    name = 'decord'

    def __init__(self, path: str | os.PathLike[str], num_threads: int = 1) -> None:
        try:
            self._reader = decord.VideoReader(os.path.abspath(path), num_threads=num_threads)
        except Exception as error:  # decord raises RuntimeError and its own, with C++ addresses
            raise VideoError(_decord_reason(error)) from error
        self.avg_fps = float(self._reader.get_avg_fps())
        self._matrix = _matrix_unknown_to_decord(path)

    def __len__(self) -> int:
        return len(self._reader)

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """See :class:`VideoReader`."""
        try:
            frames = self._reader.get_batch(list(indices)).asnumpy()
        except Exception as error:
            raise VideoError(_decord_reason(error)) from error
        if self._matrix == _UPRIGHT:
            return frames
        return np.stack([turned(frame, self._matrix) for frame in frames])

    def decode_all(self) -> None:
        """See :class:`VideoReader`."""
        for start in range(0, len(self), _FRAMES_AT_ONCE):
            self.frames(range(start, min(start + _FRAMES_AT_ONCE, len(self))))


class PyAVReader(VideoReader):
    """PyAV: frame k is the k-th that a player shows, on every file that it decodes.

    Where the packets of a file say for certain which frames it shows and from where each can be
    decoded, the reader jumps; the time stamp of every frame on the way is compared with what they
    said. Elsewhere (AVI, MPEG-TS, lossless cuts, hidden frames, ...) all frames are decoded and
    counted, from the first.

    Args:
        path: the file.
        num_threads: of the decoder.
        recount: count the frames whatever the packets say.
    """

    def __init__(
        self, path: str | os.PathLike[str], num_threads: int = 1, *, recount: bool = False
    ) -> None:
        self._path, self._num_threads = path, num_threads
        self._reformatter = VideoReformatter()
        self._kept: list[av.VideoFrame] | None = None
        with _opened(path) as container, _in_plain_words():
            stream = _video_stream(container)
            self.avg_fps = float(stream.average_rate or 0)
            self._index = None if recount else packet_index(container, stream)
        if self._index is None:
            self._count()
        else:
            self._length = len(self._index.times)

    @property
    def name(self) -> str:
        """See :class:`VideoReader`."""
        return COUNTED if self._index is None else 'pyav'

    def __len__(self) -> int:
        return self._length

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """See :class:`VideoReader`."""
        wanted, places = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        found = self._checked(lambda: self._show(wanted.tolist()))
        return (
            found if len(places) == len(wanted) and (np.diff(places) > 0).all() else found[places]
        )

    def decode_all(self) -> None:
        """See :class:`VideoReader`."""
        self._checked(self._decode_all)

    def _checked(self, work: Callable[[], _Answer]) -> _Answer:
        """Work by the packets; where they turn out not to say what is shown, by counting."""
        try:
            return work()
        except _PacketsError:
            said = self._length
            self._index = None
            self._count()
        if self._length != said:
            raise MiscountError(f'its packets announce {said} frames, it shows {self._length}')
        return work()

    def _show(self, wanted: Sequence[int]) -> np.ndarray:
        """Frames in ascending order, each once."""
        images: list[np.ndarray] = []
        for place, frame in self._decoded(wanted):
            if place == wanted[len(images)]:
                if frame.is_corrupt:
                    raise VideoError(f'frame {place} is damaged')
                images.append(_upright(frame, self._reformatter))
            if len(images) == len(wanted):
                return np.stack(images)
        raise VideoError(f'frame {wanted[len(images)]} of {self._length} cannot be decoded')

    def _decode_all(self) -> None:
        number = 0
        for place, frame in self._decoded(range(self._length)):
            if frame.is_corrupt:
                raise VideoError(f'frame {place} is damaged')
            number += 1
        if number < self._length:
            raise VideoError(f'frame {number} of {self._length} cannot be decoded')

    def _decoded(self, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames by place, ascending: the wanted ones, and those decoded on the way to them."""
        if self._index is not None:
            frames = self._by_packets(self._index, wanted)
        else:
            frames = enumerate(self._from_the_first() if self._kept is None else self._kept)
        size = None
        for place, frame in frames:
            size = size or (frame.width, frame.height)
            if size != (frame.width, frame.height):
                raise VideoError(
                    f'its frames change in size: {size[0]} x {size[1]} pixels, but '
                    f'{frame.width} x {frame.height} at frame {place}'
                )
            yield place, frame

    def _count(self) -> None:
        """Decode every frame, and keep them where they are small, so that none is decoded again."""
        self._kept, room, number = [], _BYTES_KEPT, 0
        for frame in self._from_the_first():
            number += 1
            room -= sum(plane.buffer_size for plane in frame.planes)
            if room < 0:
                self._kept = None
            if self._kept is not None:
                self._kept.append(frame)
        self._length = number

    def _from_the_first(self) -> Iterator[av.VideoFrame]:
        with _opened(self._path) as container, _in_plain_words():
            yield from container.decode(self._stream(container))

    def _by_packets(
        self, index: PacketIndex, wanted: Sequence[int]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        with _opened(self._path) as container, _in_plain_words():
            stream = self._stream(container)
            reached = -1
            for key, places in groupby(wanted, index.key_before):
                if reached < 0 or key.place > reached + 1:
                    coming = _from_key(container, stream, index, key)
                last = max(places)
                while reached < last:
                    reached, frame = next(coming)
                    yield reached, frame

    def _stream(self, container: av.container.InputContainer) -> av.VideoStream:
        stream = _video_stream(container)
        stream.codec_context.thread_count = self._num_threads
        return stream


def _from_key(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    index: PacketIndex,
    key: KeyFrame,
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames by place, from a key frame on.

    Raises:
        _PacketsError: they are not those that the packets announced.
    """
    start, packets = _start_at(container, stream, index, key)
    place = start.place
    for packet in packets:
        for frame in packet.decode():
            if frame.pts is not None and frame.pts < start.time:
                continue  # shown before the key frame, from which it cannot be decoded
            if place == len(index.times) or frame.pts != index.times[place]:
                raise _PacketsError
            yield place, frame
            place += 1
    raise _PacketsError


def _start_at(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    index: PacketIndex,
    key: KeyFrame,
) -> tuple[KeyFrame, Iterator[av.Packet[Any]]]:
    """A key frame, or one before it, and the packets from there on.

    Containers take what is sought for the time of showing or for that of decoding.
    """
    for time in (key.time, key.decoding_time):
        container.seek(time, stream=stream, backward=True)
        packets = container.demux(stream)
        first = next(packets)
        start = index.key_at(first)
        if start is not None and start.place <= key.place:
            return start, chain([first], packets)
    raise _PacketsError


def _opened(path: str | os.PathLike[str]) -> av.container.InputContainer:
    try:
        # Plain files only: a playlist must not make us open other files or addresses. What stands
        # before a colon in a relative path would be taken for a protocol.
        return av.open(os.path.abspath(path), options={'protocol_whitelist': 'file'})
    except (av.FFmpegError, ValueError, UnicodeDecodeError) as error:
        raise VideoError(_ffmpeg_reason(error)) from error


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    # A cover picture is a video stream, too, and may be the first.
    streams = sorted(container.streams.video, key=_is_picture)
    if not streams:
        kinds = ', '.join(sorted({stream.type or 'data' for stream in container.streams}))
        raise VideoError(f'it has no video stream{", only " if kinds else ""}{kinds}')
    return streams[0]


def _is_picture(stream: av.VideoStream) -> bool:
    disposition = getattr(stream, 'disposition', None)
    return bool(getattr(disposition, 'value', 0) & _ATTACHED_PICTURE)


def _upright(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """(H, W, 3) RGB, turned and mirrored as a player shows it."""
    pixels = reformatter.reformat(frame, format='rgb24').to_ndarray()
    return turned(pixels, _matrix(frame))


def _matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Where the file says that right and down of a frame are to point: (a, b, c, d)."""
    side_data: Any = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload]
    if side_data is None:
        return _UPRIGHT
    a, b, _, c, d, *_ = struct.unpack('=9i', bytes(side_data))
    return a, b, c, d


def _matrix_unknown_to_decord(path: str | os.PathLike[str]) -> tuple[int, int, int, int]:
    """What decord still has to be turned by: it knows MP4's matrix, and a tag `rotate`."""
    with _opened(path) as container, _in_plain_words():
        stream = _video_stream(container)
        tags = {tag.lower() for tag in stream.metadata}
        if 'mov' in container.format.name.split(',') or 'rotate' in tags:
            return _UPRIGHT
        return next((_matrix(frame) for frame in container.decode(stream)), _UPRIGHT)


def turned(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Apply a display matrix, to the nearest quarter turn and mirroring.

    Args:
        pixels: (H, W, 3).
        matrix: (a, b, c, d): a point (x, y) of the picture is shown at (a x + c y, b x + d y)
            (ISO/IEC 14496-12, 6.2.2).
    """
    a, b, c, d = matrix
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels = pixels.swapaxes(0, 1)
        across, down = c, b
    pixels = pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    return np.ascontiguousarray(pixels)


@contextmanager
def _in_plain_words() -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(_ffmpeg_reason(error)) from error


def reason_of(error: Exception) -> str:
    """Why a video cannot be used, in a line; damaged files surprise libraries in any way."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return line if isinstance(error, VideoError) else f'{type(error).__name__}: {line}'


def _ffmpeg_reason(error: Exception) -> str:
    reason = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return f'it cannot be decoded: {reason[:1].lower()}{reason[1:160]}'


def _decord_reason(error: Exception) -> str:
    """decord's message without time stamps and source lines."""
    text = ' '.join(str(error).split())
    said = text.rpartition('Check failed: ')[2] or text
    return f'decord cannot decode it: {said[:120]}'


# Boxes an MP4 or QuickTime file may start with; anything else is not of that family.
MP4_STARTS = (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot')
EBML_START, _EBML_SEGMENT = b'\x1a\x45\xdf\xa3', b'\x18\x53\x80\x67'


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse what no decoder could read, with the reason in plain words.

    Args:
        path: the video.

    Raises:
        VideoError: not there, not a regular file, unreadable, empty, or shorter than it says it is.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            # A named pipe or a device would keep the reader waiting for ever.
            raise VideoError('it is not a regular file')
        if status.st_size == 0:
            raise VideoError('it is empty (0 bytes)')
        with open(path, 'rb') as file:
            stated = stated_size(file)
    except FileNotFoundError:
        raise VideoError('there is no such file') from None
    except PermissionError:
        raise VideoError('no permission to read it') from None
    except OSError as error:
        raise VideoError(f'it cannot be read: {error.strerror or error}') from None
    if stated is not None and stated > status.st_size:
        raise VideoError(f'it is truncated: {status.st_size} of at least {stated} bytes')


def stated_size(file: BinaryIO) -> int | None:
    """Bytes the container says it has: at least so many; None where it does not say.

    Knows MP4 and QuickTime (top-level boxes, ISO/IEC 14496-12), Matroska and WebM (EBML segment,
    RFC 8794) and AVI (RIFF).

    Args:
        file: opened for reading bytes, at its start.
    """
    start = file.read(12)
    file.seek(0)
    if start[4:8] in MP4_STARTS:
        return _end_of_boxes(file)
    if start.startswith(EBML_START):
        return _end_of_segment(file)
    if start.startswith(b'RIFF') and start[8:12] == b'AVI ':
        return 8 + int.from_bytes(start[4:8], 'little')
    return None


def _end_of_boxes(file: BinaryIO) -> int | None:
    """Where the last of the top-level boxes ends, which may be behind the end of the file."""
    end = 0
    while True:
        file.seek(end)
        header = file.read(16)
        # What others append to a file (padding, tags) is no box.
        if len(header) < 8 or not all(32 <= byte < 127 for byte in header[4:8]):
            return end
        size = int.from_bytes(header[:4], 'big')
        if size == 1 and len(header) == 16:
            size = int.from_bytes(header[8:], 'big')
        elif size == 0:  # to the end of the file, wherever that is
            return end
        if size < 8:
            return None
        end += size


def _end_of_segment(file: BinaryIO) -> int | None:
    """Where a Matroska segment ends; None for a live stream, whose size is unknown."""
    file.seek(4)
    header_size = _ebml_size(file)
    if header_size is None:
        return None
    file.seek(header_size, os.SEEK_CUR)
    if file.read(4) != _EBML_SEGMENT:
        return None
    size = _ebml_size(file)
    return None if size is None else file.tell() + size


def _ebml_size(file: BinaryIO) -> int | None:
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    length = 9 - first[0].bit_length()
    value = first[0] & ((1 << (8 - length)) - 1)
    rest = file.read(length - 1)
    value = int.from_bytes(bytes([value]) + rest, 'big')
    return None if value == (1 << (7 * length)) - 1 else value


# Containers that keep the time at which a packet is shown. AVI keeps none, a transport or program
# stream not that of each packet; Windows Media and Ogg keep other times than it.
_TIMED_CONTAINERS = {'mov', 'matroska', 'flv'}
# One packet is one shown frame, except as _hides says. MPEG-4 part 2 may pack two frames into one
# packet or hold frames without content, VP8 hides those that are only referred to, MPEG-2 and VC-1
# may hold fields.
_ONE_FRAME_A_PACKET = {'h264', 'hevc', 'vp9', 'av1', 'mjpeg', 'prores', 'dnxhd', 'ffv1', 'png'}


class KeyFrame(NamedTuple):
    """A frame from which on all later ones can be decoded.

    Attributes:
        place: among the frames, from 0.
        time: at which it is shown, in units of the stream.
        decoding_time: at which it is decoded, not after that.
    """

    place: int
    time: int
    decoding_time: int


@dataclass(frozen=True)
class PacketIndex:
    """Frames of a video by the time at which they are shown.

    Attributes:
        times: of all frames, ascending, in units of the stream.
        keys: key frames in their order; the first has place 0.
    """

    times: tuple[int, ...]
    keys: tuple[KeyFrame, ...]

    def key_before(self, place: int) -> KeyFrame:
        """The last key frame that is not behind a frame."""
        return self.keys[bisect_right(self.keys, place, key=lambda key: key.place) - 1]

    def key_at(self, packet: av.Packet[Any]) -> KeyFrame | None:
        """The key frame that a packet holds."""
        number = bisect_right(self.keys, packet.pts or 0, key=lambda key: key.time) - 1
        return self.keys[number] if number >= 0 and self.keys[number].time == packet.pts else None


def packet_index(
    container: av.container.InputContainer, stream: av.VideoStream
) -> PacketIndex | None:
    """Read all packets of a stream.

    Args:
        container: at its start; it is at its end afterwards.
        stream: its video stream.

    Returns:
        The index; None where the packets do not say which frames are shown.
    """
    kinds = set(container.format.name.split(','))
    codec = stream.codec_context.name
    if _TIMED_CONTAINERS.isdisjoint(kinds) or _family(codec) not in _ONE_FRAME_A_PACKET:
        return None
    packets = []
    for packet in container.demux(stream):
        if not packet.size:  # the last one, which empties the decoder
            continue
        # A packet that an edit list cuts away is decoded and not shown.
        if packet.pts is None or packet.is_discard or _hides(packet, codec):
            return None
        # Matroska keeps no time of decoding.
        dts = packet.pts if packet.dts is None else packet.dts
        packets.append((packet.pts, dts, packet.is_keyframe))
    times = sorted(time for time, _, _ in packets)
    if not packets or len(set(times)) < len(times):
        return None
    # Frames before the first key frame, or shown before it, refer to what was cut away.
    if not packets[0][2] or packets[0][0] != times[0]:
        return None
    place_of = {time: place for place, time in enumerate(times)}
    keys = tuple(KeyFrame(place_of[pts], pts, dts) for pts, dts, is_key in packets if is_key)
    # Key frames that are not shown in the order of their packets are none.
    if any(one.place >= other.place for one, other in zip(keys, keys[1:])):
        return None
    return PacketIndex(tuple(times), keys)


def _family(codec: str) -> str:
    """'av1' of 'libdav1d', 'vp9' of 'libvpx-vp9': decoders have names of their own."""
    return {'libdav1d': 'av1', 'libaom-av1': 'av1', 'libvpx-vp9': 'vp9'}.get(codec, codec)


def _hides(packet: av.Packet[Any], codec: str) -> bool:
    """Whether a packet of VP9 holds a frame that is only referred to.

    Bits of its first byte (VP9 bitstream specification, 6.2): marker 2, profile 2 (the third
    profile has a reserved bit more), show_existing_frame, frame_type, show_frame. Several frames in
    a packet, of which one is shown, end with a byte 110xxxxx (annex B).
    """
    if _family(codec) != 'vp9':
        return False
    content = memoryview(packet)
    if content[-1] >> 5 == 0b110:
        return False
    bits = content[0] << 1 if content[0] >> 4 & 0b11 == 0b11 else content[0]
    shows_existing, shows = bits >> 3 & 1, bits >> 1 & 1
    return not (shows_existing or shows)
