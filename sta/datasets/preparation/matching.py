"""What annotations name, what a folder holds, and which file is meant by which name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from sta.datasets.annotations import Annotation, AnyPath, count, legible, plain
from sta.datasets.decoding import EBML_START, MP4_STARTS
from sta.errors import DataError


class Wanted(NamedTuple):
    """A video that the annotations name.

    Attributes:
        name: how it is spoken of: its usual file name, or the path that the annotations give.
        label: its class.
        stems: names without suffix that its file may have, the best first.
        path: where the annotations say it is; '' where they do not.
        split: 'train', 'val' or 'test' where the annotations say so, else ''.
        group: what it must not be parted from when videos are divided; '' where nothing is said.
    """

    name: str
    label: int
    stems: tuple[str, ...] = ()
    path: str = ''
    split: str = ''
    group: str = ''


class Excluded(NamedTuple):
    """A video that is left out of the list, and why; the label is '' where there are two."""

    path: str
    label: int | str
    reason: str


@dataclass(frozen=True)
class Annotations:
    """Annotations that have been read.

    Attributes:
        source: the file or folder they come from.
        class_names: by label.
        wanted: the videos, each once.
        excluded: those whose label is not known.
        notes: what else the user should know, in whole sentences.
    """

    source: str
    class_names: tuple[str, ...]
    wanted: tuple[Wanted, ...]
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of_lines(
        cls, source: AnyPath, class_names: Sequence[str], videos: Iterable[Wanted]
    ) -> Annotations:
        """Videos by their first line; one with several labels is left out."""
        first: dict[str, Wanted] = {}
        labels: dict[str, set[int]] = {}
        num_lines = 0
        for video in videos:
            num_lines += 1
            first.setdefault(video.name, video)
            labels.setdefault(video.name, set()).add(video.label)
        again = num_lines - len(first)
        return cls(
            source=str(source),
            class_names=tuple(class_names),
            wanted=tuple(video for name, video in first.items() if len(labels[name]) == 1),
            excluded=tuple(
                Excluded(name, '', f'it has the labels {" and ".join(map(str, sorted(several)))}')
                for name, several in labels.items()
                if len(several) > 1
            ),
            notes=(f'{again:,} x {source} names a video again',) if again else (),
        )


# Of every container and raw stream that FFmpeg may read a moving picture from; whether it can, the
# scan finds out.
SUFFIXES = tuple(
    '.264 .265 .3g2 .3gp .amv .asf .avi .divx .dv .f4v .flv .gif .gxf .h264 .h265 .hevc .ivf .m1v '
    '.m2p .m2t .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mod .mov .mp4 .mp4v .mpe .mpeg .mpg .mpv .mts '
    '.mxf .nsv .nut .obu .ogm .ogv .ogx .qt .rm .rmvb .tod .trp .ts .vob .webm .wmv .wtv .xvid .y4m'
    ''.split()
)
SHOWN_SUFFIXES = '.avi, .flv, .gif, .mkv, .mov, .mp4, .mpg, .mts, .ts, .webm, .wmv and others'
# First bytes, from which place on, of files that have lost their suffix.
_STARTS = (
    *((4, start) for start in MP4_STARTS),
    (0, EBML_START),
    (8, b'AVI '),
    (0, b'FLV\x01'),
    (0, b'\x00\x00\x01\xba'),
    (0, b'\x30\x26\xb2\x75'),
    (0, b'OggS'),
    (0, b'GIF8'),
)


def is_video(name: str) -> bool:
    """Does a file's name end as a video's? ('._x.mp4' holds what macOS knows of x.mp4.)"""
    return name.lower().endswith(SUFFIXES) and not os.path.basename(name).startswith('.')


def starts_as_video(path: AnyPath) -> bool:
    """Do the first bytes say that a file is a video? False where it cannot be read."""
    try:
        if not os.path.isfile(path):
            return False
        with open(path, 'rb') as file:
            start = file.read(16)
    except OSError:
        return False
    return any(start[place:].startswith(mark) for place, mark in _STARTS)


class FolderIndex:
    """Videos below a folder, found without looking at any file: there may be 240,000 of them.

    Args:
        folder: links to folders are followed; folders whose names begin with a dot are passed over.
        look: False does not look: videos are then found at their paths only.

    Attributes:
        paths: of all videos, relative to the folder, sorted; a file without a suffix is one if its
            first bytes say so.
        left_out: of all other files, sorted; without hidden ones that are none by their suffix.

    Raises:
        DataError: no such folder, or none that may be read.
    """

    def __init__(self, folder: AnyPath, *, look: bool = True) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            what = 'is a file, not a folder' if self.folder.exists() else 'does not exist'
            raise DataError(f'folder of the videos {folder} {what}')
        files = sorted(_walk(self.folder)) if look else []
        self.paths = tuple(path for path, video in files if video)
        self.left_out = tuple(path for path, video in files if not video)
        self._known = frozenset(self.paths)
        self._by_stem: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_stem.setdefault(PurePath(path).stem, []).append(path)

    def left_out_line(self) -> str | None:
        """How many files were left out, of which suffixes, with an example; None without any."""
        if not self.left_out:
            return None
        kinds = Counter(
            'hidden' if path.name.startswith('.') else path.suffix.lower() or 'no suffix'
            for path in map(PurePath, self.left_out)
        )
        listed = ', '.join(f'{number:,} {legible(kind)}' for kind, number in kinds.most_common(4))
        more = f' and {len(kinds) - 4} more kinds' if len(kinds) > 4 else ''
        return (
            f'{count(len(self.left_out), "file")} left out, since no suffix of a video is '
            f'theirs ({listed}{more}), e.g. {legible(self.left_out[0])}'
        )

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

        def order(path: str) -> tuple[int, bool, bool, str]:
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


def _walk(folder: Path) -> Iterator[tuple[str, bool]]:
    """Files below a folder, and whether they are videos."""
    seen = {os.path.realpath(folder)}

    def refuse(error: OSError) -> None:
        raise DataError(f'cannot look into {error.filename}: {error.strerror}') from None

    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        inside = os.path.relpath(place, folder)
        for name in files:
            if name.startswith('.') and (name.startswith('._') or not is_video(name[1:])):
                continue
            video = is_video(name) if PurePath(name).suffix else starts_as_video(f'{place}/{name}')
            yield name if inside == os.curdir else os.path.join(inside, name), video
        folders[:] = [name for name in folders if not name.startswith('.')]
        for name in list(folders):
            real = os.path.realpath(os.path.join(place, name))
            if real in seen:  # a link to a folder above would be followed for ever
                folders.remove(name)
            seen.add(real)


MISSING = 'there is no such file'


@dataclass(frozen=True)
class Matched:
    """Videos and their files.

    Attributes:
        found: paths as :class:`FolderIndex` gives them, and labels.
        missing: videos without a file, and those that have another one's.
        chosen: (file taken, file left) of videos that have several.
        unnamed: files that no annotation names.
        outside: found files outside of the folder.
    """

    found: tuple[Annotation, ...]
    missing: tuple[Excluded, ...]
    chosen: tuple[tuple[str, str], ...]
    unnamed: tuple[str, ...]
    outside: tuple[str, ...]


def match_files(annotations: Annotations, index: FolderIndex) -> Matched:
    """Find the file of every video.

    Raises:
        DataError: not one is found.
    """
    found: dict[str, Annotation] = {}
    missing, chosen, named = [], [], set()
    for video in annotations.wanted:
        files = index.candidates(video, annotations.class_names[video.label])
        named.update(files)
        if not files or files[0] in found:
            reason = 'another line names the same file' if files else MISSING
            missing.append(Excluded(video.name, video.label, reason))
            continue
        found[files[0]] = Annotation(files[0], video.label)
        if len(files) > 1:
            chosen.append((files[0], files[1]))
    for path, *_ in annotations.excluded:  # named, too, with labels that contradict one another
        named.update(index.candidates(Wanted(path, -1, path=path), ''))
    if not found:
        raise DataError(_nothing_found(annotations, index))
    return Matched(
        found=tuple(found.values()),
        missing=tuple(missing),
        chosen=tuple(chosen),
        unnamed=tuple(path for path in index.paths if path not in named),
        outside=tuple(
            path for path in found if os.path.isabs(path) or path.startswith('..' + os.sep)
        ),
    )


def _nothing_found(annotations: Annotations, index: FolderIndex) -> str:
    if not annotations.wanted:
        return f'{annotations.source} names no video that could be used'
    there = f'which holds e.g. {index.paths[0]}' if index.paths else 'which holds no videos'
    if index.paths == () and annotations.wanted[0].path:
        there = 'the folder that paths are relative to (--videos FOLDER says another)'
    return (
        f'none of the {len(annotations.wanted)} videos of {annotations.source} is in '
        f'{index.folder}, {there}; expected e.g. {annotations.wanted[0].name}'
    )
