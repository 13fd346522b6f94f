"""Files that are either complete or not there, whatever interrupts the writing."""

from __future__ import annotations

import os
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


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with the line ends that ``text`` has."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode('utf-8'))
