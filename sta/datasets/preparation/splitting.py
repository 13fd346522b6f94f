"""Which videos are trained on and which are kept for the evaluation."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sta.errors import DataError

from ..annotations import Annotation, count

# How people call the three parts, in folders and in the column of a csv.
NAMES = {
    **dict.fromkeys(('train', 'training'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validate', 'validation', 'dev'), 'val'),
    **dict.fromkeys(('test', 'testing'), 'test'),
}
ORDERS = ('random', 'ordered')


@dataclass(frozen=True)
class SplitSettings:
    """How videos are divided that come without a split of their own.

    Attributes:
        share: of every class that is evaluated and not trained on; 1 trains on nothing.
        order: 'random' draws, by a hash of seed and name; 'ordered' takes the last by name, numbers
            by their value: clips of one recording, which are neighbours, then stay together but for
            the two at the border.
        seed: of the draw.
        group_by: pattern that is looked for in the path of a video; videos in which it finds the
            same stay together. None: every video by itself, where the annotations name no groups.

    Raises:
        DataError: a share out of range, an unknown order, a pattern that is none.
    """

    share: float = 0.2
    order: str = 'random'
    seed: int = 0
    group_by: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise DataError(
                f'--val-share must be above 0 and at most 1 (all are evaluated, none is trained '
                f'on), got {self.share:g}'
            )
        if self.order not in ORDERS:
            raise DataError(f'--split must be one of {list(ORDERS)}, got {self.order!r}')
        try:
            re.compile(self.group_by or '')
        except re.error as error:
            raise DataError(f'--group-by {self.group_by!r} is no pattern: {error}') from None

    def group_of(self, path: str) -> str:
        """What the pattern finds in a path.

        Raises:
            DataError: nothing.
        """
        match = re.search(self.group_by or '', path)
        if match is None:
            raise DataError(f'--group-by {self.group_by!r} finds nothing in {path}')
        return '|'.join(part or '' for part in match.groups()) or match.group()


@dataclass(frozen=True)
class Split:
    """Videos by what they are for.

    Attributes:
        parts: videos of 'train', 'val' and 'test', in the order of the list; no empty ones.
        notes: how it was made and what to know of it, in whole sentences.
    """

    parts: Mapping[str, tuple[Annotation, ...]]
    notes: tuple[str, ...]

    @property
    def evaluated(self) -> str:
        """The part that accuracies are of: 'test' where there is one, else 'val'."""
        return 'test' if 'test' in self.parts else 'val'

    @property
    def watched(self) -> str:
        """The part that is looked at between epochs."""
        return 'val' if 'val' in self.parts else 'test'


def given_split(
    videos: Sequence[Annotation],
    splits: Mapping[str, str],
    *,
    class_names: Sequence[str],
    folder: Path,
    groups: Mapping[str, str],
) -> Split:
    """The split that comes with the videos, as it is.

    Args:
        videos: the list.
        splits: 'train', 'val' or 'test' by path.
        class_names: by label.
        folder: what paths are relative to.
        groups: by path; empty where there are none.

    Raises:
        DataError: nothing is left to be evaluated.
    """
    parts = {
        name: tuple(video for video in videos if splits[video.path] == name)
        for name in ('train', 'val', 'test')
    }
    parts = {name: part for name, part in parts.items() if part}
    if not {'val', 'test'} & set(parts):
        raise DataError('every video is of the split train: nothing is left to evaluate')
    numbers = ', '.join(f'{count(len(part), "video")} {name}' for name, part in parts.items())
    notes = [f'split as given: {numbers}']
    same = {'copies': same_content(videos, folder), 'videos of one group': groups}
    for what, shared in same.items():
        notes += _shared(parts, shared, what)
    return Split(parts, (*notes, *_classes_without(parts, class_names)))


def made_split(
    videos: Sequence[Annotation],
    settings: SplitSettings,
    *,
    class_names: Sequence[str],
    folder: Path,
    groups: Mapping[str, str],
) -> Split:
    """Divide every class by a share; groups and copies of one file stay together.

    What is drawn depends on names and seed only, not on the machine or on what else is in the list
    of another class.

    Args:
        videos: the list.
        settings: share, order, seed and groups.
        class_names: by label.
        folder: what paths are relative to.
        groups: by path, where the annotations name them; empty where they do not.
    """
    if settings.share == 1:
        return Split(
            {'val': tuple(videos)}, ('no video is set apart to train on: all are evaluated',)
        )
    if settings.group_by is not None:
        groups = {video.path: settings.group_of(video.path) for video in videos}
    together = _together(videos, groups, same_content(videos, folder))
    chosen = _chosen(videos, together, settings)
    parts = {
        'train': tuple(video for video in videos if video.path not in chosen),
        'val': tuple(video for video in videos if video.path in chosen),
    }
    if not chosen:
        note = 'no class holds two videos or groups to part: all are evaluated, none is trained on'
        return Split({'val': tuple(videos)}, (note,))
    how = 'the last by name' if settings.order == 'ordered' else f'drawn with seed {settings.seed}'
    notes = [
        f'split: {count(len(parts["train"]), "video")} to train on, {len(parts["val"]):,} to '
        f'evaluate ({100 * settings.share:g} % of every class, {how})'
    ]
    if len(set(together.values())) < len(videos):
        notes.append(
            f'kept together: {count(len(set(together.values())), "group")} of '
            f'{count(len(videos), "video")} (groups, and copies of one file)'
        )
    return Split(parts, (*notes, *_classes_without(parts, class_names)))


def same_content(videos: Iterable[Annotation], folder: Path) -> dict[str, str]:
    """Digest by path of the videos that are not the only one of their content."""
    by_size: dict[int, list[str]] = {}
    for video in videos:
        by_size.setdefault((folder / video.path).stat().st_size, []).append(video.path)
    digests = {
        path: _digest(folder / path)
        for paths in by_size.values()
        if len(paths) > 1
        for path in paths
    }
    uses = Counter(digests.values())
    return {path: digest for path, digest in digests.items() if uses[digest] > 1}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _together(
    videos: Sequence[Annotation], groups: Mapping[str, str], same: Mapping[str, str]
) -> dict[str, str]:
    """The group of every path: the one it has, else its own; groups that hold copies are one."""
    names = {video.path: groups.get(video.path) or video.path for video in videos}
    joined: dict[str, str] = {}

    def root(name: str) -> str:
        while name in joined:
            name = joined[name]
        return name

    first: dict[str, str] = {}
    for path, digest in same.items():
        one, other = sorted((root(names[path]), root(first.setdefault(digest, names[path]))))
        if one != other:
            joined[other] = one
    return {path: root(name) for path, name in names.items()}


def _chosen(
    videos: Sequence[Annotation], together: Mapping[str, str], settings: SplitSettings
) -> set[str]:
    """Paths of the videos to evaluate.

    Groups are gone through in turn; one is taken where that brings the numbers of its classes
    nearer to the share, and leaves a video of each class to train on.
    """
    sizes = Counter(video.label for video in videos)
    targets = {
        label: min(max(1, round(settings.share * size)), size - 1) for label, size in sizes.items()
    }
    members: dict[str, list[Annotation]] = {}
    for video in videos:
        members.setdefault(together[video.path], []).append(video)
    taken: Counter[int] = Counter()
    chosen: set[str] = set()
    for name in _in_turn(members, settings):
        more = Counter(video.label for video in members[name])
        before = sum(abs(taken[label] - targets[label]) for label in more)
        after = sum(abs(taken[label] + n - targets[label]) for label, n in more.items())
        leaves = all(taken[label] + n < sizes[label] for label, n in more.items())
        first = any(not taken[label] for label in more)
        if leaves and (after < before or (after == before and first)):
            taken += more
            chosen.update(video.path for video in members[name])
    return chosen


def _in_turn(names: Iterable[str], settings: SplitSettings) -> list[str]:
    if settings.order == 'ordered':
        return sorted(names, key=_by_number, reverse=True)
    # By the bytes of a name, which are the same in every locale.
    drawn = {name: hashlib.sha256(os.fsencode(f'{settings.seed}/{name}')) for name in names}
    return sorted(drawn, key=lambda name: drawn[name].digest())


def _by_number(name: str) -> list[tuple[int, int, str]]:
    """A key that puts clip 9 before clip 10."""
    parts = re.split(r'(\d+)', name)
    return [(1, int(part), '') if part.isdecimal() else (0, 0, part) for part in parts]


def _shared(
    parts: Mapping[str, Sequence[Annotation]], same: Mapping[str, str], what: str
) -> list[str]:
    """A warning where things that are the same are both trained on and evaluated."""
    trained = {same[v.path]: v.path for v in parts.get('train', ()) if v.path in same}
    seen = [
        (video.path, trained[same[video.path]])
        for name in ('val', 'test')
        for video in parts.get(name, ())
        if same.get(video.path) in trained
    ]
    if not seen:
        return []
    return [
        f'warning: {count(len(seen), "video")} to evaluate and videos to train on are {what}, e.g. '
        f'{seen[0][0]} and {seen[0][1]}: the accuracy will be too good'
    ]


def _classes_without(
    parts: Mapping[str, Sequence[Annotation]], class_names: Sequence[str]
) -> list[str]:
    """Classes that one part has and another lacks."""
    labels = {name: {label for _, label in part} for name, part in parts.items()}
    notes = []
    evaluated = 'test' if 'test' in parts else 'val'
    for here, there, what in (
        ('train', evaluated, 'evaluated'),
        (evaluated, 'train', 'trained on'),
    ):
        lacking = sorted(labels.get(here, set()) - labels.get(there, set()))
        if lacking and there in parts:
            notes.append(
                f'warning: no video of {count(len(lacking), "class", "classes")} is {what}, e.g. '
                f'{class_names[lacking[0]]!r}'
            )
    return notes
