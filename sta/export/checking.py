"""Prove that an exported file computes what the model computes, in a process without sta."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import run_file
from .classifier import ClipClassifier, ExportError

# Of so many clips so many may differ: see Agreement.
NUM_CLIPS = 6
MIN_AGREEING = 0.5


class Agreement(NamedTuple):
    """How far logits of the file and of the eager model are apart.

    Tokens of nearly equal score may change places under another order of summation, in ONNX Runtime
    as in float64. What follows then sees other tokens, so that a clip in some tens differs by more
    than rounding. It says nothing against the file as long as the others agree.

    Attributes:
        differences: largest of each clip.
        largest_logit: of the eager model, by absolute value.
        batch_sizes: that were run.
        allowed: what counts as agreement.
    """

    differences: list[float]
    largest_logit: float
    batch_sizes: list[int]
    allowed: float

    @property
    def agreeing(self) -> list[float]:
        """The differences that are no more than allowed."""
        return [value for value in self.differences if value <= self.allowed]

    def __str__(self) -> str:
        agreeing, num_clips = self.agreeing, len(self.differences)
        text = (
            f'largest difference to the eager model: {max(agreeing, default=np.nan):.2g} '
            f'(largest logit {self.largest_logit:.2g}; {num_clips} made-up clips in batches of '
            f'{", ".join(map(str, self.batch_sizes))}, run in a fresh process)'
        )
        if len(agreeing) < num_clips:
            text += (
                f'; left out: {num_clips - len(agreeing)} clips that differ by up to '
                f'{max(self.differences):.2g}, where tokens of nearly equal score change places'
            )
        return text


def batches_for(module: ClipClassifier, size: int | None, shape: tuple[int, ...]) -> list[Tensor]:
    """Made-up clips in batches of 3, 2 and 1, or of the only size that a graph takes."""
    sizes = [3, 2, 1] if size is None else [size] * -(-NUM_CLIPS // size)
    return list(module.example(sum(sizes), shape, seed=1).split(sizes))


@torch.no_grad()
def compare(
    module: ClipClassifier, path: Path, batches: Sequence[Tensor], tolerance: float
) -> Agreement:
    """Run a file and the module it was made of on the same clips.

    Args:
        module: in evaluation mode.
        path: .onnx or .pt2.
        batches: of clips, as the module takes them.
        tolerance: how far logits may be apart, times the largest logit where that is above 1.

    Raises:
        ExportError: the file cannot be run, or half of the clips or more differ.
    """
    ours = [module(clips).numpy() for clips in batches]
    theirs = _run_elsewhere(path, [clips.numpy() for clips in batches])
    largest_logit = max(float(np.abs(logits).max()) for logits in ours)
    differences = [
        float(np.abs(a - b).max())
        for mine, other in zip(ours, theirs, strict=True)
        for a, b in zip(mine, other, strict=True)
    ]
    allowed = tolerance * max(largest_logit, 1.0)
    sizes = list(dict.fromkeys(len(clips) for clips in batches))
    agreement = Agreement(differences, largest_logit, sizes, allowed)
    if len(agreement.agreeing) <= MIN_AGREEING * len(differences):
        raise ExportError(
            f'the exported model computes something else, nothing was written: logits of '
            f'{len(differences) - len(agreement.agreeing)} of {len(differences)} clips differ by '
            f'more than {allowed:.2g}, up to {max(differences):.2g} (largest logit '
            f'{largest_logit:.2g})'
        )
    return agreement


def _run_elsewhere(path: Path, batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        pairs = []
        for i, clips in enumerate(batches):
            pairs.append((Path(folder, f'clips{i}.npy'), Path(folder, f'logits{i}.npy')))
            np.save(pairs[i][0], clips)
        files = [str(file) for pair in pairs for file in pair]
        command = [sys.executable, run_file.__file__, str(path), *files]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            last = run.stderr.strip().splitlines()[-1:] or ['it said nothing']
            raise ExportError(f'the exported model cannot be run: {last[0][:300]}')
        return [np.load(logits) for _, logits in pairs]
