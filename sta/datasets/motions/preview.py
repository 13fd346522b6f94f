"""A contact sheet: one row of evenly spaced frames for each class."""

from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np

from sta.atomic import replacing
from sta.datasets.motions.classes import CLASS_NAMES
from sta.datasets.motions.clip import ClipSource

LABEL_WIDTH = 210
GAP = 3


def contact_sheet(source: ClipSource, *, first_index: int = 0, columns: int = 8) -> np.ndarray:
    """Draw the ten clips from ``first_index`` on, in label order; returns (H, W, 3) uint8 RGB."""
    first_index -= first_index % len(CLASS_NAMES)
    rows = [_row(source, first_index + label, columns) for label in range(len(CLASS_NAMES))]
    return np.concatenate(rows)


def save_contact_sheet(source: ClipSource, path: Path, *, first_index: int = 0) -> None:
    """Write the sheet to a picture file; OSError if that cannot be done."""
    sheet = cv2.cvtColor(contact_sheet(source, first_index=first_index), cv2.COLOR_RGB2BGR)
    is_coded, data = cv2.imencode('.png', sheet)
    if not is_coded:
        raise OSError(f'could not encode {path} as PNG')
    if not path.parent.is_dir():  # which would be made
        raise FileNotFoundError(errno.ENOENT, 'no such folder', str(path.parent))
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _row(source: ClipSource, index: int, columns: int) -> np.ndarray:
    """Draw one clip: its class name and ``columns`` evenly spaced frames."""
    frames = source.frames(index)
    chosen = np.linspace(0, len(frames) - 1, columns).round().astype(int)
    label = np.full((source.size, LABEL_WIDTH, 3), 255, np.uint8)
    name = CLASS_NAMES[index % len(CLASS_NAMES)].replace('_', ' ')
    font = cv2.FONT_HERSHEY_SIMPLEX
    for line, text in enumerate((name, f'clip {index}, {len(frames)} frames')):
        place = (4, source.size // 2 - 4 + 16 * line)
        cv2.putText(label, text, place, font, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    cells = [cv2.copyMakeBorder(frames[t], 0, GAP, 0, GAP, 0, value=(255,) * 3) for t in chosen]
    label = cv2.copyMakeBorder(label, 0, GAP, 0, 0, 0, value=(255,) * 3)
    return np.concatenate([label, *cells], axis=1)
