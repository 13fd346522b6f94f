"""From annotation files and a folder of videos to lists that can be evaluated.

The options that its tools share stand here, where nothing heavy is imported for --help.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path


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
