"""What can be told of a video file before a decoder touches it."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from sta.errors import VideoError

# Boxes an MP4 or QuickTime file may start with; anything else is not of that family.
_MP4_STARTS = (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot')
_EBML, _EBML_SEGMENT = b'\x1a\x45\xdf\xa3', b'\x18\x53\x80\x67'


def check_file(path: str | os.PathLike) -> None:
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
    if start[4:8] in _MP4_STARTS:
        return _end_of_boxes(file)
    if start.startswith(_EBML):
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
