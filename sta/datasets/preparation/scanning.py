"""Scan the videos that were found, with a manifest and a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ..annotations import Annotation
from ..manifest import Manifest, ManifestLine
from ..scan import VideoScan, check_settings, scan_videos
from ..scan_progress import ScanProgress


@dataclass(frozen=True)
class ScanSettings:
    """How to scan.

    Attributes:
        num_workers, full_decode, time_limit_s: see :func:`scan_videos`.

    Raises:
        DataError: a number out of range.
    """

    num_workers: int = 1
    full_decode: bool = False
    time_limit_s: float = 60.0

    def __post_init__(self) -> None:
        check_settings(self.num_workers, self.time_limit_s)


@dataclass(frozen=True)
class ScanResult:
    """What a scan found.

    Attributes:
        videos: by path, in the order of the list.
        num_reused: how many an earlier run had found.
        seconds: the time it took.
    """

    videos: Mapping[str, VideoScan] = field(default_factory=dict)
    num_reused: int = 0
    seconds: float = 0.0

    @property
    def broken(self) -> list[VideoScan]:
        """Videos that no decoder can decode."""
        return [scan for scan in self.videos.values() if scan.broken]


def scan_into_manifest(
    videos: Sequence[Annotation],
    class_names: Sequence[str],
    *,
    folder: Path,
    manifest_file: Path,
    settings: ScanSettings,
) -> ScanResult:
    """Scan videos; the manifest grows line by line and holds them in their order at the end.

    Args:
        videos: each path once.
        class_names: by label.
        folder: what the paths are relative to.
        manifest_file: read first, what it knows is not scanned again.
        settings: how to scan.

    Raises:
        DataError: the manifest is something else, or a worker process died.
    """
    manifest = Manifest(manifest_file)
    labels = dict(videos)
    lines: dict[str, ManifestLine] = {}
    num_reused = 0
    scanned = scan_videos(
        folder,
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
                line = lines[scan.path] = ManifestLine(label, class_names[label], scan)
                num_reused += reused
                if not reused:
                    appended.append(line)
                progress.advance(broken=scan.broken)
    except KeyboardInterrupt:
        done = f'{len(lines)} of {len(labels)} videos are in {manifest_file}'
        print(f'{done}: the same command goes on from here', file=sys.stderr)
        raise
    manifest.replace(lines[path] for path in labels)
    found = {path: lines[path].scan for path in labels}
    return ScanResult(found, num_reused, progress.elapsed_s)
