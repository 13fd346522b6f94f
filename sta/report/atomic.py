"""Files that are either complete or not there, whatever interrupts the writing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; move it to ``path`` unless the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not from tempfile, whose files are for their owner's eyes only.
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """See before the work that files can be made in a folder, or that it can be made; makes none.

    It is tried: what permission bits say holds neither for root nor for every file system.

    Raises:
        OSError: with the nearest folder that is there as its file name.
    """
    absolute = folder.absolute()
    nearest = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
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
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode('utf-8'))
