"""Files that are either complete or not there, whatever interrupts the writing."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; move it to ``path`` unless the block raises.

    Raises:
        OSError: with ``path`` as its file name; what was there before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not from tempfile, whose files are for their owner's eyes only.
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        with naming(path, instead_of=temporary):
            yield temporary
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """Name a file in errors of the system that name none, as those of a full disk do.

    Args:
        path: what is being written.
        instead_of: a name that means nothing to people.
    """
    try:
        yield
    except OSError as error:
        known = error.filename not in (None, instead_of and str(instead_of))
        if known or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_steadily(path: Path, save: Callable[[IO[bytes]], None]) -> None:
    """Let a library write that aborts the process where a write fails, as torch's does.

    Args:
        path: of the file; whether it is to be a temporary one, see :func:`replacing`.
        save: writes into the file object it is given.

    Raises:
        OSError: the first write that failed.
    """
    with path.open('wb', buffering=0) as file:
        steady = _Steady(file)
        try:
            save(cast('IO[bytes]', steady))  # which has what a library asks of a file to write to
        finally:
            if steady.error is not None:
                raise steady.error


class _Steady(io.RawIOBase):
    """Takes every write, and keeps the first error until it can be raised."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def write(self, data: Any) -> int:
        left = memoryview(data).cast('B')
        size = len(left)
        try:
            while self.error is None and left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.error = error
        return size


def check_folder(folder: Path, option: str = '') -> None:
    """See before the work that files can be made in a folder, or that it can be made; makes none.

    It is tried: what permission bits say holds neither for root nor for every file system.

    Args:
        folder: to write to.
        option: that named it, for the message; '' leaves the folder itself out of it.

    Raises:
        OSError: with the nearest folder that is there as its file name.
    """
    absolute = folder.absolute()
    nearest = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        if option:
            raise OSError(
                f'{option} {folder} cannot be written: nothing can be made in {nearest} '
                f'({error.strerror})'
            ) from None
        raise OSError(error.errno, error.strerror, str(nearest)) from None


def check_target(path: Path, option: str) -> None:
    """See before the work that a file can be written after it.

    Args:
        path: of the file.
        option: that named it, for the message.

    Raises:
        OSError: it is a folder, or its folder cannot be made or written; says which and why.
    """
    if path.is_dir():
        raise OSError(f'{option} {path} is a folder, not a file')
    try:
        check_folder(path.parent)
    except OSError as error:
        raise OSError(
            f'{option} {path} cannot be written: nothing can be made in {error.filename} '
            f'({error.strerror})'
        ) from None


def write_text(path: Path, text: str) -> None:
    r"""Write UTF-8 with the line ends that ``text`` has; bytes of names that are none as \udcff."""
    content = text.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
    write_bytes(path, content.encode('utf-8'))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
