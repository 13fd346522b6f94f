"""From annotations to a list: find the files, scan them, write the good ones, say what is next."""

from __future__ import annotations

import argparse
import ast
import csv
import io
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sta.atomic import write_text
from sta.datasets.annotations import Annotation, count, legible, list_text, plain
from sta.datasets.decoding import COUNTED
from sta.errors import DataError
from sta.start import REPOSITORY

from .matching import MISSING, Annotations, Excluded, FolderIndex, Matched, match_files
from .scan import ScanResult, ScanSettings, VideoScan, scan_into_manifest
from .splitting import Split


@dataclass(frozen=True)
class Outputs:
    """Names of the files.

    Attributes:
        folder: where they go.
        prefix: what their names begin with, e.g. 'kinetics400_val_'.
        more: further files that are written beside them, as a config.
    """

    folder: Path
    prefix: str = ''
    more: tuple[str, ...] = ()

    @property
    def list_file(self) -> Path:
        """'path label' lines, see :func:`sta.datasets.annotations.read_annotations`."""
        return self.folder / f'{self.prefix}list_videos.txt'

    def part_file(self, part: str) -> Path:
        """The list of one part of the videos, e.g. 'train'."""
        return self.folder / f'{self.prefix}{part}_list_videos.txt'

    @property
    def excluded_file(self) -> Path:
        """Csv: path, label, reason."""
        return self.folder / f'{self.prefix}excluded.csv'

    @property
    def manifest_file(self) -> Path:
        """Csv, see :class:`sta.datasets.preparation.scan.Manifest`."""
        return self.folder / f'{self.prefix}manifest.csv'

    def refuse_loss(self, *, force: bool) -> None:
        """What an earlier run has written must not be lost by mistake.

        Raises:
            DataError: the folder is a file, or holds a list and ``force`` is False.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f'--out {self.folder} is a file, not a folder')
        old = [self.list_file, self.excluded_file, *(self.folder / name for name in self.more)]
        there = next((path for path in old if path.exists()), None)
        if there is not None and not force:
            raise DataError(
                f'{there} is there from an earlier run: --force writes it anew (what the manifest '
                f'knows is not scanned again), another --out keeps it'
            )


@dataclass(frozen=True)
class Settings:
    """What to do with videos.

    Attributes:
        scan: how to look into them; None does not.
        keep_broken: leave videos in the list that no decoder can decode.
    """

    scan: ScanSettings | None = ScanSettings()
    keep_broken: bool = False


@dataclass(frozen=True)
class Prepared:
    """What has been done.

    Attributes:
        annotations, settings, outputs: what it was made from, how, and whereto.
        folder: of the videos.
        matched: videos and their files.
        scan: what was found in the files; empty without a scan.
        listed: videos in the list.
        excluded: those that are not, with reasons.
    """

    annotations: Annotations
    settings: Settings
    outputs: Outputs
    folder: Path
    matched: Matched
    scan: ScanResult
    listed: tuple[Annotation, ...]
    excluded: tuple[Excluded, ...]


def prepare(
    annotations: Annotations, index: FolderIndex, outputs: Outputs, settings: Settings
) -> Prepared:
    """Write the list, what is excluded from it, and the manifest.

    Raises:
        DataError: no video is found or none can be decoded, a path that cannot stand in a list, the
            decoding processes die.
    """
    said = index.left_out_line()
    if said is not None:
        annotations = replace(annotations, notes=(*annotations.notes, said))
    matched = match_files(annotations, index)
    list_text(matched.found)  # refuses what cannot stand in a list before anything is scanned
    outputs.folder.mkdir(parents=True, exist_ok=True)
    scan = ScanResult()
    if settings.scan is not None:
        scan = scan_into_manifest(
            matched.found,
            annotations.class_names,
            folder=index.folder,
            manifest_file=outputs.manifest_file,
            settings=settings.scan,
        )
    listed, broken = _without_broken(matched, scan, index.folder, keep=settings.keep_broken)
    excluded = (*annotations.excluded, *matched.missing, *broken)
    write_text(outputs.excluded_file, _excluded_text(excluded))
    write_text(outputs.list_file, list_text(listed))
    return Prepared(annotations, settings, outputs, index.folder, matched, scan, listed, excluded)


def _without_broken(
    matched: Matched, scan: ScanResult, folder: Path, *, keep: bool
) -> tuple[tuple[Annotation, ...], tuple[Excluded, ...]]:
    """Videos for the list, and those that are left out of it."""
    reasons = {video.path: video.reason for video in scan.broken}
    if len(reasons) == len(matched.found):
        path, reason = next(iter(reasons.items()))
        raise DataError(
            f'none of the {len(reasons)} videos can be decoded, e.g. {folder / path}: {reason}'
        )
    if keep:
        return matched.found, ()
    listed = tuple(video for video in matched.found if video.path not in reasons)
    broken = tuple(Excluded(*v, reasons[v.path]) for v in matched.found if v.path in reasons)
    return listed, broken


def _excluded_text(videos: Iterable[Excluded]) -> str:
    text = io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(Excluded._fields)
    writer.writerows((legible(video.path), *video[1:]) for video in videos)
    return text.getvalue()


@dataclass(frozen=True)
class Official:
    """An official data set, whose annotations a tool turns into a list.

    Attributes:
        prefix: what names of its files begin with.
        config: the shipped config that evaluates it.
        folder: where that config looks for the list of the split val.
        videos: where it looks for the videos.
        published: how many videos others have; '{listed}' of ours.
    """

    prefix: str
    config: str
    folder: str
    videos: str
    published: str

    def prepare(self, arguments: argparse.Namespace, read: Callable[[], Annotations]) -> None:
        """Write the list of a split, and say what was done and what is next.

        Args:
            arguments: of :func:`sta.datasets.preparation.add_options`, with split and videos.
            read: the annotations, after a look at what an earlier run has written.

        Raises:
            DataError: see :func:`prepare`; or files of an earlier run.
        """
        settings = settings_of(arguments)
        outputs = Outputs(arguments.out, f'{self.prefix}_{arguments.split}_')
        outputs.refuse_loss(force=arguments.force)
        prepared = prepare(read(), FolderIndex(arguments.videos), outputs, settings)
        is_val = arguments.split == 'val'
        published = self.published.format(listed=len(prepared.listed)) if is_val else ''
        print('\n'.join(describe(prepared, official=published)))
        print(f'next: {self.command(prepared)}')

    def command(self, prepared: Prepared) -> str:
        """The command that evaluates a list, with options for what differs from the config."""
        there = REPOSITORY / self.folder / f'{self.prefix}_val_list_videos.txt'
        places = {
            'ann_file': (prepared.outputs.list_file, there),
            'data_prefix.video': (prepared.folder, REPOSITORY / self.videos),
        }
        options = [
            shlex.quote(f'test_dataloader.dataset.{key}={_as_text(str(ours))}')
            for key, (ours, default) in places.items()
            if os.path.abspath(ours) != os.path.abspath(default)
        ]
        more = f' --cfg-options {" ".join(options)}' if options else ''
        return f'python tools/test.py {self.config} CHECKPOINT{more}'


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Settings from the arguments of :func:`sta.datasets.preparation.add_options`.

    Raises:
        DataError: a number out of range, or options that contradict each other.
    """
    if arguments.no_scan and arguments.full_decode:
        raise DataError('--no-scan looks into no video, --full-decode at every frame: give one')
    scan = ScanSettings(
        num_workers=arguments.workers,
        full_decode=arguments.full_decode,
        time_limit_s=arguments.time_limit,
    )
    return Settings(None if arguments.no_scan else scan, arguments.keep_broken)


def describe(prepared: Prepared, *, official: str = '') -> list[str]:
    """Lines on what was found, what is left out, and what was written.

    Args:
        prepared: what was done.
        official: how many videos other copies of the data set hold, in a sentence.
    """
    lines = [*_found(prepared), *_scanned(prepared), *_written(prepared)]
    lines += [official] if official else []
    # Names of files need not be UTF-8, what is printed must be.
    return [line.encode('utf-8', 'backslashreplace').decode() for line in lines]


def _found(prepared: Prepared) -> Iterator[str]:
    annotations, matched = prepared.annotations, prepared.matched
    wanted = len(annotations.wanted) + len(annotations.excluded)
    yield (
        f'{annotations.source}: {count(wanted, "video")}, {len(matched.found):,} found in '
        f'{prepared.folder}'
    )
    yield from annotations.notes
    for video in annotations.excluded[:1]:
        number = count(len(annotations.excluded), 'video')
        yield f'{number} with contradicting labels, e.g. {video.path}: {video.reason}'
    missing = [video.path for video in matched.missing if video.reason == MISSING]
    doubled = [video.path for video in matched.missing if video.reason != MISSING]
    chosen = [f'{taken}, which was taken, and {left}' for taken, left in matched.chosen]
    yield from _example(missing, 'video', 'missing')
    yield from _example(doubled, 'video', 'left out because another line names the same file')
    yield from _example(chosen, 'video', 'with several files')
    yield from _example(matched.unnamed, 'file', 'in the folder named by no annotation')
    yield from _example(matched.outside, 'video', 'outside of the folder')


def _example(names: Sequence[str], one: str, what: str) -> Iterator[str]:
    if names:
        yield f'{count(len(names), one)} {what}, e.g. {names[0]}'


def _scanned(prepared: Prepared) -> Iterator[str]:
    settings, scan = prepared.settings.scan, prepared.scan
    if settings is None:
        yield 'not scanned: broken videos, if any, are in the list'
        return
    how = 'every frame' if settings.full_decode else 'first, middle and last frame'
    fresh = len(scan.videos) - scan.num_reused
    rate = f' ({fresh / scan.seconds:.1f} videos/s)' if fresh else ''
    yield (
        f'scanned {count(fresh, "video")} in {scan.seconds:.0f} s{rate}, {how} of each; '
        f'{scan.num_reused:,} known from the manifest'
    )
    good = [video for video in scan.videos.values() if not video.broken]
    frames = sorted(video.frames for video in good)
    [(size, number)] = Counter((video.width, video.height) for video in good).most_common(1)
    yield (
        f'{frames[0]} to {frames[-1]} frames, median {frames[len(frames) // 2]}; most often '
        f'{size[0]} x {size[1]} pixels ({number:,} of {count(len(good), "video")})'
    )
    yield from _decoders(good)
    yield from _broken(scan)


def _decoders(good: Sequence[VideoScan]) -> Iterator[str]:
    """How many videos had to be decoded to count their frames, by kind of file."""
    kinds = Counter(
        f'{video.codec} in {os.path.splitext(video.path)[1] or "a file without suffix"}'
        for video in good
        if video.decoder == COUNTED
    )
    if kinds:
        number = count(sum(kinds.values()), 'video')
        named = ', '.join(f'{kind}: {number:,}' for kind, number in kinds.most_common(5))
        yield f'frames of {number} counted by decoding ({named}{", ..." if len(kinds) > 5 else ""})'


def _broken(scan: ScanResult) -> Iterator[str]:
    """Broken videos by what is wrong, the most frequent first."""
    kinds: dict[str, list[str]] = {}
    for video in scan.broken:
        # Numbers in reasons differ from video to video; what is wrong does not.
        kind = re.sub(r'\d+', 'N', video.reason)
        kinds.setdefault(kind, []).append(f'{video.path}: {video.reason}')
    frequent = sorted(kinds.values(), key=len, reverse=True)
    for examples in frequent[:5]:
        yield from _example(examples, 'video', 'broken')
    others = sum(map(len, frequent[5:]))
    if others:
        yield f'{count(others, "video")} broken otherwise'


def _written(prepared: Prepared) -> Iterator[str]:
    outputs, names = prepared.outputs, prepared.annotations.class_names
    used = {label for _, label in prepared.listed}
    lost = sorted({video.label for video in prepared.annotations.wanted} - used)
    if lost:
        yield f'no video is left of {count(len(lost), "class", "classes")}, e.g. {names[lost[0]]!r}'
    yield f'{len(used)} of {count(len(names), "class", "classes")} occur'
    yield f'wrote {outputs.list_file}: {count(len(prepared.listed), "video")}'
    if prepared.excluded:
        number = count(len(prepared.excluded), 'video')
        yield f'wrote {outputs.excluded_file}: {number} not in the list, with reasons'
    if prepared.settings.scan is not None:
        kept = ' (the broken are in the list, too: --keep-broken)'
        kept = kept if prepared.settings.keep_broken and prepared.scan.broken else ''
        yield f'wrote {outputs.manifest_file}: frames, size, codec and decoder of each video{kept}'


def _as_text(value: str) -> str:
    """Options are read as Python where they can be: a folder called 2024 would be a number."""
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    return repr(value)


def config_text(prepared: Prepared, *, base: str, classes: str, part: str | None = None) -> str:
    """A config that evaluates videos of one's own.

    Args:
        prepared: the list.
        base: config it inherits model and views from.
        classes: 'kinetics400', 'ssv2' or a file with the class names.
        part: of the videos, see :class:`Split`; None for all of them.
    """
    outputs = prepared.outputs
    listed = outputs.list_file if part is None else outputs.part_file(part)
    num_classes = len(prepared.annotations.class_names)
    classes = classes if not os.path.isfile(classes) else os.path.abspath(classes)
    return f"""\
# Evaluates videos of one's own; by tools/prepare_custom.py, to be written anew when files move.
#   python tools/test.py {as_argument(outputs.folder / 'config.py')} CHECKPOINT
_base_ = {_quoted(base)}
num_classes = {num_classes}  # here and nowhere else
work_dir = {f'work_dirs/{outputs.folder.resolve().name}'!r}
model = dict(cls_head=dict(num_classes=num_classes))
test_dataloader = dict(
    dataset=dict(
        ann_file={_quoted(listed)},
        data_prefix=dict(video={_quoted(prepared.folder)}),
        num_classes=num_classes,
        classes={classes!r},
    )
)
"""


@dataclass(frozen=True)
class Recipe:
    """How videos of one's own are trained on.

    Attributes:
        schedule: config with optimizer, warm-up and loops.
        pretrained: the encoder that training starts from; None starts from random weights.
        clip_len, size: frames and side of the clips that the model takes.
        stride: frames from one frame of a clip to the next; None spreads them over the video.
        flip_ratio: share of mirrored clips.
        layers: blocks of a ViT, for lower rates in lower layers; None gives all the same.
        max_epochs, batch_size, num_workers: of the training.
    """

    schedule: str
    pretrained: str | None
    clip_len: int
    size: int
    stride: int | None
    flip_ratio: float
    layers: int | None
    max_epochs: int
    batch_size: int
    num_workers: int

    @property
    def every(self) -> int:
        """Epochs from one checkpoint and validation to the next: about ten in all."""
        return max(1, self.max_epochs // 10)


def epochs_for(num_videos: int, batch_size: int) -> int:
    """Epochs for about 450 steps in all, but 20 at least and 100 at most."""
    steps = -(-num_videos // batch_size)
    return min(100, max(20, round(450 / steps / 10) * 10))


def train_config_text(prepared: Prepared, split: Split, recipe: Recipe) -> str:
    """A config that trains on videos of one's own; it inherits from that of config_text.

    Args:
        prepared: the list.
        split: with videos to train on.
        recipe: how.
    """
    outputs, loading = prepared.outputs, f'num_workers={recipe.num_workers}'
    loading += ', persistent_workers=True' if recipe.num_workers else ''
    start = recipe.pretrained and os.path.abspath(recipe.pretrained)
    other = split.watched != split.evaluated
    watched = f', ann_file={_quoted(outputs.part_file(split.watched))}' if other else ''
    decay = f"dict(decay_type='layer_wise', decay_rate=0.75, num_layers={recipe.layers})"
    slower = (
        f"optim_wrapper = dict(constructor='LearningRateDecayOptimizerConstructor', "
        f'paramwise_cfg={decay})\n'
    )
    clip = f'clip_len={recipe.clip_len}, size={recipe.size}, stride={recipe.stride}'
    listed = f'videos, ann_file={_quoted(outputs.part_file("train"))}'
    num_videos = count(len(split.parts['train']), 'video')
    kinds = "('Mixup', 'Cutmix')"
    return f"""\
# Trains on {num_videos}; by tools/prepare_custom.py, explained in docs/own_videos.md.
#   python tools/train.py {as_argument(outputs.folder / 'train_config.py')}
_base_ = ['config.py', {_quoted(recipe.schedule)}]
pretrained = {start!r}
videos = _base_.test_dataloader.dataset  # with their folder, number of classes and names
clip = dict(type='TrainingClip', {clip}, flip_ratio={recipe.flip_ratio})
train_dataloader = dict(
    batch_size={recipe.batch_size}, drop_last=False, {loading},
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict({listed}, pipeline=[clip], test_mode=False),
)
watched = dict(videos, pipeline=[dict(clip, augment=False)]{watched})
val_dataloader = dict(_base_.test_dataloader, dataset=watched)
mixing = [dict(type=f'{{kind}}Blending', num_classes=_base_.num_classes) for kind in {kinds}]
model = dict(data_preprocessor=dict(blending=dict(type='RandomBatchAugment', augments=mixing)))
train_cfg = dict(max_epochs={recipe.max_epochs}, val_interval={recipe.every})
default_hooks = dict(checkpoint=dict(interval={recipe.every}))
{slower if recipe.layers else ''}"""


def names_sides(class_names: Sequence[str]) -> bool:
    """Whether names of classes tell left from right: a mirrored clip would be of another class."""
    words = {word for name in class_names for word in plain(name).split()}
    return not words.isdisjoint(('left', 'right', 'clockwise', 'counterclockwise', 'anticlockwise'))


def _quoted(path: str | os.PathLike[str]) -> str:
    """An absolute path as Python text."""
    return repr(os.path.abspath(path))


def as_argument(path: Path) -> str:
    """A path as it is typed in a shell."""
    return shlex.quote(str(path))
