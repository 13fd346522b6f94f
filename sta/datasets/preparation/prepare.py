"""The way from annotations to a list: find the files, scan them, write what is good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sta.errors import DataError

from ..annotations import Annotation
from .folder_index import FolderIndex
from .matching import Matched, match_files
from .outputs import Outputs
from .scanning import ScanResult, ScanSettings, scan_into_manifest
from .wanted import Annotations, Excluded


@dataclass(frozen=True)
class Settings:
    """What to do with videos.

    Attributes:
        scan: how to look into them; None does not.
        keep_broken: leave videos in the list that no decoder can decode.
        force: write files of an earlier run anew.
    """

    scan: ScanSettings | None = ScanSettings()
    keep_broken: bool = False
    force: bool = False


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
        DataError: no video is found or none can be decoded, files of an earlier run, a path that
            cannot stand in a list, a worker process died.
    """
    said = index.left_out_line()
    if said is not None:
        annotations = replace(annotations, notes=(*annotations.notes, said))
    matched = match_files(annotations, index)
    outputs.open(force=settings.force)
    outputs.check(matched.found)
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
    outputs.write_excluded(excluded)
    outputs.write_list(listed)
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
