"""Which videos a folder holds, looked up once, and which of them is meant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from ..errors import DataError
from .class_lookup import plain
from .wanted import Wanted

SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')


def is_video(name: str) -> bool:
    """Does a file's name end as a video's? ('._x.mp4' holds what macOS knows of x.mp4.)"""
    return name.lower().endswith(SUFFIXES) and not os.path.basename(name).startswith('._')


class FolderIndex:
    """Videos below a folder, found without looking at any file: there may be 240,000 of them.

    Args:
        folder: links to folders are followed; folders whose names begin with a dot are passed over.
        look: False does not look: videos are then found at their paths only.

    Attributes:
        paths: of all videos, relative to the folder, sorted.

    Raises:
        DataError: no such folder, or none that may be read.
    """

    def __init__(self, folder: str | os.PathLike, *, look: bool = True) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            what = 'is a file, not a folder' if self.folder.exists() else 'does not exist'
            raise DataError(f'folder of the videos {folder} {what}')
        self.paths = tuple(sorted(_walk(self.folder))) if look else ()
        self._known = frozenset(self.paths)
        self._by_stem: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_stem.setdefault(PurePath(path).stem, []).append(path)

    def candidates(self, video: Wanted, class_name: str) -> list[str]:
        """Files that may be a video, the best first.

        A file at the path that is asked for is the only one. Of several with the right name:
        the better name, then one in a folder of replacements (Kinetics-400 comes with one for
        corrupt files), then one in the folder of its class, then the first of the alphabet.

        Returns:
            Paths relative to the folder; absolute for a file that lies elsewhere.
        """
        if video.path:
            path = self._at(video.path)
            if path is not None:
                return [path]
        found = {
            path: place
            for place, stem in enumerate(video.stems)
            for path in self._by_stem.get(stem, ())
        }

        def order(path: str) -> tuple:
            folders = PurePath(path).parent.parts
            replaced = any(part.lower().startswith('replacement') for part in folders)
            in_class = bool(folders) and plain(folders[-1]) == plain(class_name)
            return found[path], not replaced, not in_class, path

        return sorted(found, key=order)

    def _at(self, path: str) -> str | None:
        if path in self._known:
            return path
        inside = os.path.relpath(path, self.folder) if os.path.isabs(path) else path
        if inside in self._known:
            return inside
        # Neither in the index nor absent: outside of the folder, or with a suffix of its own.
        return path if os.path.isfile(self.folder / path) else None


def _walk(folder: Path) -> Iterator[str]:
    seen = {os.path.realpath(folder)}

    def refuse(error: OSError) -> None:
        raise DataError(f'cannot look into {error.filename}: {error.strerror}') from None

    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        inside = os.path.relpath(place, folder)
        for name in files:
            if is_video(name):
                yield name if inside == os.curdir else os.path.join(inside, name)
        folders[:] = [name for name in folders if not name.startswith('.')]
        for name in list(folders):
            real = os.path.realpath(os.path.join(place, name))
            if real in seen:  # a link to a folder above would be followed for ever
                folders.remove(name)
            seen.add(real)
