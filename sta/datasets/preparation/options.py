"""Arguments that all tools of preparation share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sta.errors import DataError

from .prepare import Settings
from .scanning import ScanSettings


def add_options(parser: argparse.ArgumentParser, *, out: str | None) -> None:
    """Add --out and everything about scanning.

    Args:
        parser: of the tool.
        out: default of --out; None makes the user choose.
    """
    parser.add_argument(
        '--out',
        type=Path,
        default=out and Path(out),
        required=out is None,
        metavar='FOLDER',
        help='where the list goes' + (f'; default {out}' if out else ', e.g. data/mine'),
    )
    parser.add_argument(
        '--workers', type=int, default=num_cores(), help='processes; default: one a core'
    )
    parser.add_argument('--no-scan', action='store_true', help='do not look into the videos')
    parser.add_argument(
        '--full-decode',
        action='store_true',
        help='decode every frame; default: the first, the middle and the last',
    )
    parser.add_argument(
        '--time-limit',
        type=float,
        default=60.0,
        metavar='S',
        help='seconds a decoder may take for a video; default %(default)g',
    )
    parser.add_argument(
        '--keep-broken', action='store_true', help='leave videos in the list that cannot be decoded'
    )
    parser.add_argument(
        '--force', action='store_true', help='write the list of an earlier run anew'
    )


def num_cores() -> int:
    """Cores that this process may use, which under Slurm are not all of the machine."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Settings from the arguments of :func:`add_options`.

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
    return Settings(
        scan=None if arguments.no_scan else scan,
        keep_broken=arguments.keep_broken,
        force=arguments.force,
    )
