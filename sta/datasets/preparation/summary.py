"""What a preparation has done, in lines for the screen."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ..decoding import COUNTED
from ..scan import VideoScan
from .matching import MISSING
from .prepare import Prepared
from .scanning import ScanResult
from .wanted import count


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
