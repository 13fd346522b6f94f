"""Lists of videos with labels ('path label' lines, of mmaction2 and VideoMAE) and class names.

No host library is imported: a tool asks for names of classes before its slow imports.
"""

from __future__ import annotations

import difflib
import functools
import gzip
import os
import re
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from importlib import resources
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple, TypeVar

from sta.errors import DataError

AnyPath = str | os.PathLike[str]
Entry = TypeVar('Entry')
_LINE = re.compile(r'^(?:"(?P<quoted>[^"]+)"|(?P<path>.+?))[\s,]+(?P<label>-?\d+)$')
# Control characters, separators of lines, and bytes that are not UTF-8.
_NOT_SAID = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
# The largest lists in circulation (Kinetics-700 as json) take 150 MB; a video given by mistake, or
# a small file that unpacks to gigabytes, must not fill the memory.
MOST_BYTES = 2**29
_ARCHIVES = {
    b'PK\x03\x04': 'a zip archive or an Excel workbook',
    b'BZh': 'compressed by bzip2',
    b'\xfd7zXZ': 'compressed by xz',
    b'\x28\xb5\x2f\xfd': 'compressed by zstd',
    b'7z\xbc\xaf': 'a 7-Zip archive',
}


class Annotation(NamedTuple):
    """One line of a list: path of a video, as it stands there, and its label."""

    path: str
    label: int


def read_text(path: AnyPath, what: str = '') -> str:
    """A text file without its byte order mark, also one that gzip has compressed.

    Args:
        path: the file.
        what: 'annotation file' and so on, for the message.

    Raises:
        DataError: no such file, a folder, unreadable, damaged, too large, binary, or not UTF-8.
    """
    name = f'{what} {path}'.strip()
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        # Nobody may be writing into a pipe, and a list is read more than once.
        raise DataError(f'{name} is not a regular file')
    try:
        with open(path, 'rb') as file:
            content = _unpacked(file, name)
    except OSError as error:
        raise DataError(f'{name} cannot be read: {error.strerror or error}') from None
    return _decoded(content, name)


def _decoded(content: bytes, name: str) -> str:
    if content[:2] in (b'\xff\xfe', b'\xfe\xff'):
        raise DataError(f'{name} is not UTF-8 text but UTF-16, as of PowerShell: save it as UTF-8')
    archive = next((kind for mark, kind in _ARCHIVES.items() if content.startswith(mark)), None)
    if archive is not None:
        raise DataError(f'{name} is not UTF-8 text but {archive}: unpack it, or save it as text')
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise DataError(
            f'{name} is not UTF-8 text: {error.reason} in line {line} (byte {error.start}); save '
            f'it as UTF-8, and rename files whose names are not'
        ) from None
    if '\0' in text:
        raise DataError(f'{name} is not UTF-8 text: it holds zero bytes')
    return text


def _unpacked(file: BinaryIO, name: str) -> bytes:
    packed = file.read(2) == b'\x1f\x8b'
    file.seek(0)
    try:
        with gzip.open(file) if packed else file as source:
            content = source.read(MOST_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f'{name} is no whole gzip file: {error}; copy it again') from None
    if len(content) > MOST_BYTES:
        raise DataError(f'{name} holds more than {MOST_BYTES // 2**20} MiB: it is no list')
    return content


def read_annotations(
    ann_file: AnyPath,
    *,
    num_classes: int | None = None,
    classes: ClassLookup | None = None,
    folder: AnyPath = '',
) -> list[Annotation]:
    """Read a list; paths may hold blanks, the label is what follows the last blank or comma.

    What is suspicious is said on stderr: videos that are listed twice, which count twice, and
    labels that differ from those of the other videos in a class folder.

    Args:
        ann_file: UTF-8 text, perhaps compressed by gzip; blank lines are passed over.
        num_classes: labels must lie below it; None does not check.
        classes: whose names the class folders of the paths may bear; None knows no names.
        folder: what paths are relative to, so that two spellings of one file are seen.

    Raises:
        DataError: no such list, an empty one, a line that is not 'path label', a label out of
            range, a video with two labels, labels that follow another order than the class folders.
    """
    lines = _parsed_lines(ann_file, num_classes)
    entries = [entry for _, entry in lines]
    for said in (
        _check_repeats(lines, ann_file, folder),
        check_class_folders(entries, classes, ann_file),
    ):
        if said:
            note(said)
    return entries


def parse_annotations(ann_file: AnyPath, *, num_classes: int | None = None) -> list[Annotation]:
    """The lines of a list as :func:`read_annotations`, whatever they say together.

    Raises:
        DataError: no such list, an empty one, a line that is not 'path label', a label out of
            range.
    """
    return [entry for _, entry in _parsed_lines(ann_file, num_classes)]


def list_text(entries: Iterable[Annotation]) -> str:
    """'path label' lines, from which :func:`parse_annotations` gives the same entries.

    Raises:
        DataError: a name cannot stand in such a line; names the first, and says how many.
    """
    entries = list(entries)
    lines = [_line(entry) for entry in entries]
    lost = [entry.path for entry, line in zip(entries, lines, strict=True) if line is None]
    if lost:
        which = 'the name of the video' if len(lost) == 1 else f'{len(lost)} names of videos, e.g.'
        raise DataError(
            f'{which} {lost[0]!r} cannot stand in a list of lines: '
            f'rename {"it" if len(lost) == 1 else "them"} (UTF-8, no line ends, no quotation marks '
            f'or blanks around it)'
        )
    return ''.join(f'{line}\n' for line in lines)


def sample(entries: Sequence[Entry], number: int) -> list[Entry]:
    """A fixed random sample in the order of the list; a smaller one is part of every larger one.

    Evenly spaced entries would miss whole classes where a list goes through them in turn.

    Args:
        entries: of a list.
        number: how many; all when there are fewer.
    """
    import numpy as np  # here: a tool asks for class names before it imports anything slow

    places = np.random.default_rng(0).permutation(len(entries))[:number]
    return [entries[place] for place in sorted(places)]


def legible(name: AnyPath) -> str:
    r"""The name of a file as it is said and stored: UTF-8 without control characters.

    Bytes that are none become \udcff and the like, a line end becomes \n.
    """
    # Undecodable bytes stand in names as surrogates; where the locale is not UTF-8, all others
    # than ASCII do, and most of them are UTF-8 after all.
    text = os.fspath(name).encode('utf-8', 'surrogateescape').decode('utf-8', 'surrogateescape')
    return _NOT_SAID.sub(lambda found: found[0].encode('unicode_escape').decode(), text)


def count(number: int, one: str, many: str = '') -> str:
    """'1 video', '2 videos', '19,881 videos'."""
    return f'{number:,} {one if number == 1 else many or one + "s"}'


def as_path(text: str) -> str:
    """A path that stands in a file as UTF-8, as the functions of os take it under any locale."""
    return text if text.isascii() else os.fsdecode(text.encode('utf-8', 'surrogateescape'))


def check_class_folders(
    entries: Sequence[Annotation],
    classes: ClassLookup | None,
    source: AnyPath,
    *,
    strict: bool = False,
) -> str | None:
    """Compare labels with the class folders that videos lie in.

    Most labels of a class folder being another one's means that the list follows another order of
    classes, whose accuracy would be next to nothing. Single videos may have been corrected.

    Args:
        entries: of the list.
        classes: the names a class folder may bear; None compares the videos of a folder with each
            other.
        source: the list, for the message.
        strict: refuse a single contradiction.

    Returns:
        What is suspicious, in a sentence; None where nothing is.

    Raises:
        DataError: labels follow another order, or under ``strict`` any is another.
    """
    folders = [os.path.dirname(os.path.normpath(entry.path)) for entry in entries]
    labels = {} if classes is None else _labels_of_folders(set(folders), classes)
    if classes is None or not labels:
        return _odd_labels(entries, folders, source)
    wrong = [
        (entry, labels[folder])
        for entry, folder in zip(entries, folders, strict=True)
        if labels.get(folder, entry.label) != entry.label
    ]
    if not wrong:
        return None
    (entry, found), names = wrong[0], dict(enumerate(classes.names))
    said = (
        f'{source}: {len(wrong)} of {len(entries)} labels contradict the folder of the video, e.g. '
        f'{legible(entry.path)} has label {entry.label}, {names.get(entry.label)!r}, but its '
        f'folder is label {found} of {classes.title}'
    )
    if strict:
        raise DataError(f'{said}: make the list from the official annotations')
    if _another_order(entries, folders, labels):
        raise DataError(f'{said}: labels must follow the order of these names')
    return f'{said}; they count as they are listed'


def _another_order(
    entries: Sequence[Annotation], folders: Sequence[str], labels: Mapping[str, int]
) -> bool:
    """Are there class folders most of whose videos have other labels?"""
    found: dict[int, Counter[int]] = defaultdict(Counter)
    for entry, folder in zip(entries, folders, strict=True):
        if folder in labels:
            found[labels[folder]][entry.label] += 1
    if len(found) == 1 and len(*found.values()) > 1:
        return False  # the only folder bears the name of a class by chance
    return any(2 * counts[label] < counts.total() for label, counts in found.items())


def _labels_of_folders(folders: Set[str], classes: ClassLookup) -> dict[str, int]:
    """Labels of folders that bear, or lie in one that bears, the name of a class."""
    alike = len({os.path.isabs(folder) for folder in folders}) == 1
    common = len(PurePath(os.path.commonpath(folders)).parts) if alike else 0
    found = {}
    for folder in folders:
        parts = PurePath(folder).parts
        # What all videos lie in is no class folder, but perhaps where they lie themselves.
        inner = [*parts[-1:], *reversed(parts[common:-1])]
        # A number is the name of a subject or a camera as well.
        labels = (classes.find(part) for part in inner if not part.isdecimal())
        label = next((label for label in labels if label is not None), None)
        if label is not None:
            found[folder] = label
    return {} if classes.guessed and len(found) < len(folders) else found


def _odd_labels(
    entries: Sequence[Annotation], folders: Sequence[str], source: AnyPath
) -> str | None:
    """Videos whose label is not that of their folder, where folders go by labels."""
    labels: dict[str, Counter[int]] = defaultdict(Counter)
    for entry, folder in zip(entries, folders, strict=True):
        labels[folder][entry.label] += 1
    usual = {
        folder: counts.most_common(1)[0] for folder, counts in labels.items() if counts.total() > 1
    }
    mixed = [folder for folder in usual if len(labels[folder]) > 1]
    odd = sum(labels[folder].total() - usual[folder][1] for folder in mixed)
    num_videos = sum(labels[folder].total() for folder in usual)
    mostly_pure = len(usual) - len(mixed) >= 2 * len(mixed) or 10 * odd <= num_videos
    if not mixed or not mostly_pure or len({label for label, _ in usual.values()}) < 2:
        return None
    label, number = usual[mixed[0]]
    entry = next(e for e, f in zip(entries, folders) if f == mixed[0] and e.label != label)
    return (
        f'{source}: {odd} of {len(entries)} labels differ from those of the same folder, e.g. '
        f'{legible(entry.path)} has label {entry.label}, {number} others there have label {label}; '
        f'they count as they are listed'
    )


def _check_repeats(
    lines: Sequence[tuple[int, Annotation]],
    source: AnyPath,
    folder: AnyPath,
) -> str | None:
    """What to say of videos that are listed twice.

    Raises:
        DataError: one has two labels.
    """
    first: dict[str, tuple[int, Annotation]] = {}
    again, base = [], os.path.abspath(folder)
    for line in lines:
        before = first.setdefault(os.path.normpath(os.path.join(base, line[1].path)), line)
        if before is not line and _same_file(before[1].path, line[1].path, folder):
            again.append((before, line))
    wrong = [pair for pair in again if pair[0][1].label != pair[1][1].label]
    if wrong:
        (i, one), (j, other) = wrong[0]
        raise DataError(
            f'{source}: {len(wrong)} of {len(lines)} lines give a video another label, e.g. '
            f'{_both(one, other)} has label {one.label} in line {i} and label {other.label} in '
            f'line {j}: remove the wrong line'
        )
    if not again:
        return None
    (i, one), (j, other) = again[0]
    return (
        f'{source}: {len(again)} of {len(lines)} lines name a video again with the same label, '
        f'e.g. {_both(one, other)} in lines {i} and {j}; every line counts'
    )


def _both(one: Annotation, other: Annotation) -> str:
    alias = '' if one.path == other.path else f', also called {legible(other.path)},'
    return f'{legible(one.path)}{alias}'


def _same_file(one: str, other: str, folder: AnyPath) -> bool:
    """Behind a link to a folder, '..' leads elsewhere than the text says."""
    if '..' not in PurePath(one).parts + PurePath(other).parts:
        return True
    try:
        return os.path.samefile(os.path.join(folder, one), os.path.join(folder, other))
    except OSError:  # one is missing: the text must do
        return True


def _parsed_lines(ann_file: AnyPath, num_classes: int | None) -> list[tuple[int, Annotation]]:
    """Entries and the numbers of their lines, from 1."""
    if not os.path.exists(ann_file):
        raise DataError(
            f'annotation file {ann_file} does not exist; it lists the videos, one '
            f"'path label' a line (see data/README.md)"
        )
    lines = read_text(ann_file, 'annotation file').splitlines()
    entries = [(i, line.strip()) for i, line in enumerate(lines, 1) if line.strip()]
    if not entries:
        raise DataError(f'annotation file {ann_file} is empty')
    return [(i, _parse(line, f'{ann_file}, line {i}', num_classes)) for i, line in entries]


def _parse(line: str, where: str, num_classes: int | None) -> Annotation:
    match = _LINE.match(line)
    if match is None:
        raise DataError(f"{where}: expected 'path label', got {line[:300]!r}")
    label = int(match['label'])
    if num_classes is not None and not 0 <= label < num_classes:
        raise DataError(
            f'{where}: label {label} is not between 0 and {num_classes - 1} (num_classes of the '
            f'config)'
        )
    return Annotation(as_path(match['quoted'] or match['path']), label)


def _line(entry: Annotation) -> str | None:
    """A line of a list; None where it would be read as something else."""
    try:
        path = entry.path.encode('utf-8', 'surrogateescape').decode('utf-8')
    except UnicodeError:
        return None
    line = f'{path} {entry.label}'
    match = _LINE.match(line.strip()) if line.splitlines() == [line] else None
    whole = match is not None and (match['quoted'] or match['path']) == path
    return line if whole and '\0' not in line else None


@functools.cache
def note(said: str) -> None:
    """Say on stderr what is suspicious of data that is used: once, whatever reads it again."""
    if int(os.environ.get('RANK', 0)) == 0:
        print(f'note: {said}', file=sys.stderr, flush=True)


# Kinetics-400 (400 names, alphabetical) and Something-Something V2 (174 templates, by official id).
OFFICIAL = tuple(sorted(path.stem for path in Path(__file__).with_name('classes').glob('*.txt')))


def read_class_names(source: AnyPath) -> tuple[str, ...]:
    """Class names by label.

    Args:
        source: 'kinetics400' or 'ssv2' for the official lists, else a text file, one name a line;
            empty lines are not counted, which is said on stderr unless they are the last.

    Raises:
        DataError: no such file, an empty one, or a name that stands twice.
    """
    if source in OFFICIAL:
        text = (resources.files('sta.datasets') / 'classes' / f'{source}.txt').read_text('utf-8')
    else:
        try:
            text = read_text(source, 'class list')
        except DataError as error:
            close = difflib.get_close_matches(os.path.basename(source), OFFICIAL, n=1)
            meant = f' (did you mean {close[0]}?)' if close else ''
            raise DataError(
                f'{error}; give a text file with one name a line, or one of '
                f'{", ".join(OFFICIAL)}{meant}'
            ) from None
    return _names(text, source)


def known_classes(source: AnyPath | None, num_classes: int | None = None) -> ClassLookup | None:
    """Classes whose names the class folders of a list may bear; None where nobody names them.

    Args:
        source: see :func:`read_class_names`; None takes it that 400 classes are those of
            Kinetics-400, if all class folders bear their names.
        num_classes: of the list.

    Raises:
        DataError: see :func:`read_class_names`.
    """
    if source is not None:
        return ClassLookup(read_class_names(source), str(source))
    if num_classes != 400:
        return None
    return ClassLookup(read_class_names('kinetics400'), 'kinetics400', guessed=True)


def _names(text: str, source: AnyPath) -> tuple[str, ...]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    names = tuple(filter(None, lines))
    if not names:
        raise DataError(f'class list {source} is empty: it takes one name a line')
    first: dict[str, int] = {}
    for number, name in enumerate(lines, 1):
        if name and first.setdefault(name, number) != number:
            raise DataError(
                f'class list {source}: {name!r} stands there twice, in lines {first[name]} and '
                f'{number}: the place of a name is its label'
            )
    if '' in lines:
        place = lines.index('')
        after = next(name for name in lines[place:] if name)
        note(
            f'class list {source}: line {place + 1} is empty and not counted, so that {after!r} is '
            f'label {names.index(after)}'
        )
    return names


class ClassLookup:
    """Labels by class name; 'arm_wrestling' and 'Arm Wrestling' are 'arm wrestling'.

    Args:
        names: class names by label.
        title: whose they are, e.g. 'Kinetics-400'.
        guessed: nobody said that they are the classes of a list: they are if all its class folders
            bear their names.
    """

    def __init__(self, names: Sequence[str], title: str, *, guessed: bool = False) -> None:
        self.names, self.title, self.guessed = tuple(names), title, guessed
        self._exact = {name: label for label, name in enumerate(names)}
        self._loose: dict[str, int] = {}
        for label, name in enumerate(names):
            self._loose.setdefault(plain(name), label)

    def find(self, name: str) -> int | None:
        """Label of a class; None where there is no such class."""
        label = self._exact.get(name)
        return self._loose.get(plain(name)) if label is None else label

    def labels(self, names: Iterable[str], source: str) -> list[int]:
        """Labels of many names.

        Raises:
            DataError: some are unknown; names them, with what may have been meant.
        """
        names = list(names)
        found = {name: self.find(name) for name in names}
        unknown = [name for name, label in found.items() if label is None]
        if not unknown:
            return [label for name in names if (label := found[name]) is not None]
        said = ', '.join(self._with_suggestion(name) for name in unknown[:3])
        more = f' and {len(unknown) - 3} more' if len(unknown) > 3 else ''
        raise DataError(
            f'{source}: {len(unknown)} of {len(found)} class names are not among the '
            f'{len(self.names)} of {self.title}: {said}{more}'
        )

    def _with_suggestion(self, name: str) -> str:
        close = difflib.get_close_matches(plain(name), self._loose, n=1, cutoff=0.6)
        return f'{name!r}' + (f' (is it {self.names[self._loose[close[0]]]!r}?)' if close else '')


def plain(name: str) -> str:
    """A name without case, blanks, underscores and punctuation, for comparing.

    mmaction2's scripts put underscores for blanks and hyphens for brackets in names of folders.
    """
    return re.sub(r'[\W_]+', ' ', name.casefold()).strip()
