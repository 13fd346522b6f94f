"""What a preparation has done, in lines for the screen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from .matching import MISSING
from .prepare import Prepared
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
        f'{prepared.index.folder}'
    )
    yield from annotations.notes
    for video in annotations.excluded[:1]:
        number = count(len(annotations.excluded), 'video')
        yield f'{number} with contradicting labels, e.g. {video.path}: {video.reason}'
    missing = [video for video in matched.missing if video.reason == MISSING]
    if missing:
        yield f'{count(len(missing), "video")} missing, e.g. {missing[0].path}'
    for video in matched.missing:
        if video.reason != MISSING:
            yield f'{video.path} is left out: {video.reason}'
            break
    if matched.chosen:
        taken, left = matched.chosen[0]
        yield (
            f'{count(len(matched.chosen), "video")} with several files, e.g. {taken}, which was '
            f'taken, and {left}'
        )
    if matched.unnamed:
        number = count(len(matched.unnamed), 'file')
        yield f'{number} in the folder named by no annotation, e.g. {matched.unnamed[0]}'
    if matched.outside:
        number = count(len(matched.outside), 'video')
        yield f'{number} outside of the folder, e.g. {matched.outside[0]}'


def _scanned(prepared: Prepared) -> Iterator[str]:
    if not prepared.settings.scan:
        yield 'not scanned: broken videos, if any, are in the list'
        return
    scans = prepared.scans.values()
    how = 'every frame' if prepared.settings.full_decode else 'first, middle and last frame'
    fresh = len(scans) - prepared.num_reused
    rate = f' ({fresh / prepared.scan_s:.1f} videos/s)' if fresh else ''
    yield (
        f'scanned {count(fresh, "video")} in {prepared.scan_s:.0f} s{rate}, {how} of each; '
        f'{prepared.num_reused:,} known from the manifest'
    )
    frames = sorted(scan.frames for scan in scans if not scan.broken)
    [(size, number)] = Counter((s.width, s.height) for s in scans if not s.broken).most_common(1)
    yield (
        f'{frames[0]} to {frames[-1]} frames, median {frames[len(frames) // 2]}; most often '
        f'{size[0]} x {size[1]} pixels ({number:,} of {count(len(frames), "video")})'
    )
    by_pyav = [scan for scan in scans if scan.decoder == 'pyav']
    if by_pyav:
        yield (
            f'{count(len(by_pyav), "video")} decoded by PyAV only, e.g. {by_pyav[0].path}: '
            f'{by_pyav[0].reason}'
        )
    # Numbers in reasons differ from video to video; what is wrong does not.
    kinds = Counter(re.sub(r'\d+', 'N', scan.reason) for scan in prepared.broken)
    for kind, number in kinds.most_common(5):
        example = next(s for s in prepared.broken if re.sub(r'\d+', 'N', s.reason) == kind)
        yield f'{count(number, "video")} broken, e.g. {example.path}: {example.reason}'
    if len(kinds) > 5:
        yield f'{len(prepared.broken) - sum(n for _, n in kinds.most_common(5)):,} broken otherwise'


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
    if prepared.settings.scan:
        kept = ' (the broken are in the list, too: --keep-broken)'
        kept = kept if prepared.settings.keep_broken and prepared.broken else ''
        yield f'wrote {outputs.manifest_file}: frames, size, codec and decoder of each video{kept}'
