"""The way from annotations to a list: find the files, scan them, write what is good."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from ..annotations import Annotation
from ..errors import DataError
from ..manifest import Manifest, ManifestLine
from ..scan import VideoScan, check_settings, scan_videos
from ..scan_progress import ScanProgress
from .folder_index import FolderIndex
from .matching import Matched, match_files
from .outputs import Outputs
from .wanted import Annotations, Excluded


@dataclass(frozen=True)
class Settings:
    """How to scan and what to write.

    Attributes:
        scan: False writes the list without looking into the videos.
        num_workers, full_decode, time_limit_s: see :func:`scan_videos`.
        keep_broken: leave videos in the list that no decoder can decode.
        force: write files of an earlier run anew.

    Raises:
        DataError: a number out of range.
    """

    scan: bool = True
    num_workers: int = 1
    full_decode: bool = False
    time_limit_s: float = 60.0
    keep_broken: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        check_settings(self.num_workers, self.time_limit_s)


@dataclass(frozen=True)
class Prepared:
    """What has been done.

    Attributes:
        annotations, matched, outputs, settings: what it was made from.
        index: of the folder of the videos.
        listed: videos in the list.
        excluded: those that are not, with reasons.
        scans: by path; empty without a scan.
        num_reused: scans of an earlier run.
        scan_s: seconds the scan took.
    """

    annotations: Annotations
    matched: Matched
    outputs: Outputs
    settings: Settings
    index: FolderIndex
    listed: tuple[Annotation, ...]
    excluded: tuple[Excluded, ...]
    scans: Mapping[str, VideoScan]
    num_reused: int
    scan_s: float

    @property
    def broken(self) -> list[VideoScan]:
        """Videos that no decoder can decode."""
        return [scan for scan in self.scans.values() if scan.broken]


def prepare(
    annotations: Annotations, index: FolderIndex, outputs: Outputs, settings: Settings
) -> Prepared:
    """Write the list, what is excluded from it, and the manifest.

    Raises:
        DataError: no video is found or none can be decoded, files of an earlier run, a path that
            cannot stand in a list, numbers out of range.
    """
    matched = match_files(annotations, index)
    outputs.open(force=settings.force)
    outputs.check(matched.found)
    start = time.perf_counter()
    scans, num_reused = _scan(annotations, matched, index, outputs, settings)
    scan_s = time.perf_counter() - start
    broken = [video for video in matched.found if video.path in scans and scans[video.path].broken]
    if len(broken) == len(matched.found):
        first = broken[0].path
        raise DataError(
            f'none of the {len(broken)} videos can be decoded, e.g. {index.folder / first}: '
            f'{scans[first].reason}'
        )
    left_out = set() if settings.keep_broken else {video.path for video in broken}
    listed = tuple(video for video in matched.found if video.path not in left_out)
    excluded = (
        *annotations.excluded,
        *matched.missing,
        *(Excluded(*v, scans[v.path].reason) for v in broken if v.path in left_out),
    )
    outputs.write_excluded(excluded)
    outputs.write_list(listed)
    return Prepared(
        annotations,
        matched,
        outputs,
        settings,
        index,
        listed=listed,
        excluded=excluded,
        scans=scans,
        num_reused=num_reused,
        scan_s=scan_s,
    )


def _scan(
    annotations: Annotations,
    matched: Matched,
    index: FolderIndex,
    outputs: Outputs,
    settings: Settings,
) -> tuple[dict[str, VideoScan], int]:
    """Scans by path, all of them in the manifest, and how many were there before."""
    if not settings.scan:
        return {}, 0
    manifest = Manifest(outputs.manifest_file)
    labels = dict(matched.found)
    lines: dict[str, ManifestLine] = {}
    num_reused = 0
    scanned = scan_videos(
        index.folder,
        labels,
        num_workers=min(settings.num_workers, len(labels)),
        full_decode=settings.full_decode,
        time_limit_s=settings.time_limit_s,
        known=manifest.known,
    )
    progress = ScanProgress(num_videos=len(labels))
    try:
        # Closed at once on an interrupt: the workers end with it.
        with closing(scanned), manifest.appending() as appended, progress:
            for scan, reused in scanned:
                label = labels[scan.path]
                lines[scan.path] = ManifestLine(label, annotations.class_names[label], scan)
                num_reused += reused
                if not reused:
                    appended.append(lines[scan.path])
                progress.advance(broken=scan.broken)
    except KeyboardInterrupt:
        print(
            f'{len(lines)} of {len(labels)} videos are in {manifest.path}: the same command goes '
            f'on from here',
            file=sys.stderr,
        )
        raise
    manifest.replace(lines[path] for path in labels)
    return {path: lines[path].scan for path in labels}, num_reused
