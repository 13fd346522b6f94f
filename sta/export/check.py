"""Prove that an exported file computes what the model computes, in a process without sta."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from sta.errors import ExportError
from sta.models.prunable import ClipShape

from . import run_file
from .module import ClipClassifier

# Every clip is run in batches of each size, which divide their number.
NUM_CLIPS = 6
BATCH_SIZES = (3, 2, 1)
# Of the clips of each batch size more than this must agree: see Agreement.
MIN_AGREEING = 0.5


class Agreement(NamedTuple):
    """How far logits of the file and of the eager model are apart.

    Tokens of nearly equal score may change places under another order of summation, in ONNX Runtime
    as in float64. What follows then sees other tokens, so that a clip in some tens differs by more
    than rounding. It says nothing against the file as long as most clips agree, at every batch
    size, and rounding is shown to move the eager model itself as far (:mod:`sta.export.check`).

    Attributes:
        differences: largest of each clip, by batch size.
        largest_logit: of the eager model, by absolute value.
        allowed: what counts as agreement.
    """

    differences: dict[int, list[float]]
    largest_logit: float
    allowed: float

    def __str__(self) -> str:
        values = [value for some in self.differences.values() for value in some]
        agreeing = [value for value in values if value <= self.allowed]
        num_clips = len(next(iter(self.differences.values())))
        text = (
            f'largest difference to the eager model: {max(agreeing, default=np.nan):.2g} '
            f'(largest logit {self.largest_logit:.2g}; {num_clips} made-up clips, each in batches '
            f'of {", ".join(map(str, self.differences))}, run in a fresh process)'
        )
        if len(agreeing) < len(values):
            text += (
                f'; left out: {len(values) - len(agreeing)} of {len(values)} that differ by up to '
                f'{max(values):.2g}, where tokens of nearly equal score change places: the eager '
                f'model differs as far from itself when its weights move by roundings'
            )
        return text


def batches_for(
    module: ClipClassifier, size: int | None, shape: ClipShape
) -> dict[int, list[Tensor]]:
    """The same made-up clips in batches of each size, or of the only size that a graph takes."""
    sizes = BATCH_SIZES if size is None else (size,)
    num_clips = -(-NUM_CLIPS // max(sizes)) * max(sizes)
    clips = module.example(num_clips, shape, seed=1)
    return {size: list(clips.split(size)) for size in sizes}


@torch.no_grad()
def compare(
    module: ClipClassifier, path: Path, batches: Mapping[int, Sequence[Tensor]], tolerance: float
) -> Agreement:
    """Run a file and the module it was made of on the same clips.

    Args:
        module: in evaluation mode.
        path: .onnx or .pt2.
        batches: of clips, as the module takes them, by batch size.
        tolerance: how far logits may be apart, times the largest logit where that is above 1.

    Raises:
        ExportError: logits of the module are not finite; the file cannot be run; half of the clips
            of one batch size or more differ; or one does that rounding does not explain.
    """
    runs = [clips for some in batches.values() for clips in some]
    ours = [module(clips).numpy() for clips in runs]
    _check_finite(ours)
    theirs = _run_elsewhere(path, [clips.numpy() for clips in runs])
    apart = [_apart(mine, other) for mine, other in zip(ours, theirs, strict=True)]
    largest_logit = max(float(np.abs(logits).max()) for logits in ours)
    left = iter(apart)
    differences = {
        size: np.concatenate([next(left) for _ in some]).tolist() for size, some in batches.items()
    }
    agreement = Agreement(differences, largest_logit, tolerance * max(largest_logit, 1.0))
    _check_most(agreement)
    for clips, logits, difference in zip(runs, ours, apart, strict=True):
        _check_rest(module, clips, logits, difference, agreement.allowed)
    return agreement


def _apart(mine: np.ndarray, other: np.ndarray) -> np.ndarray:
    if mine.shape != other.shape:
        raise ExportError(
            f'the exported model gives logits {other.shape} where the eager model gives '
            f'{mine.shape}, nothing was written'
        )
    return np.abs(mine - other).max(1)


def _check_finite(logits: Sequence[np.ndarray]) -> None:
    """Of the eager model: else the file would be blamed. In a file a NaN is a difference."""
    finite = np.concatenate([np.isfinite(some).all(-1) for some in logits])
    if not finite.all():
        raise ExportError(
            f'logits of the eager model in fp32 are not finite (NaN or infinity) for '
            f'{(~finite).sum()} of {len(finite)} made-up clips, nothing was written; do the '
            f'weights belong to this config?'
        )


def _check_most(agreement: Agreement) -> None:
    for size, values in agreement.differences.items():
        num_agreeing = sum(value <= agreement.allowed for value in values)
        if num_agreeing <= MIN_AGREEING * len(values):
            raise ExportError(
                f'the exported model computes something else, nothing was written: in batches of '
                f'{size}, logits of {len(values) - num_agreeing} of {len(values)} clips differ by '
                f'more than {agreement.allowed:.2g}, up to {max(values):.2g} (largest logit '
                f'{agreement.largest_logit:.2g})'
            )


def _check_rest(
    module: ClipClassifier,
    clips: Tensor,
    logits: np.ndarray,
    difference: np.ndarray,
    allowed: float,
) -> None:
    """Every clip of a batch agrees, or is a tie; without pruning there is nothing to tie."""
    differs = ~(difference <= allowed)
    if not differs.any():
        return
    reason = 'no token is dropped that could change places with another'
    if module.backbone.schedule.active:
        needed = np.where(differs, needed_spread(difference, allowed), 0)
        spread = rounding_spread(module, clips, logits, needed)
        differs &= ~is_tie(difference, spread, allowed)
        reason = f"rounding moves the eager model's by {spread[differs].max(initial=0):.2g} at most"
    if differs.any():
        raise ExportError(
            f'the exported model computes something else, nothing was written: in a batch of '
            f'{len(clips)}, logits of a clip differ by {difference[differs].max():.2g}, more than '
            f'{allowed:.2g}, and {reason}'
        )


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


# Two roundings of float32; so many models are tried.
ROUNDING = 2.0**-22
NUM_DRAWS = 16


@torch.no_grad()
def rounding_spread(
    module: ClipClassifier, clips: Tensor, logits: np.ndarray, enough: np.ndarray
) -> np.ndarray:
    """How far rounding alone moves the eager model's logits, in the largest of some draws.

    Sums in another order are the exact sums of factors that are moved by a few roundings (backward
    error analysis; Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1).
    So the eager model is run with every weight multiplied by 1 + 2^-22 z, z normal. Where scores
    are clear of each other its logits hardly move. Where two are nearly equal, some of the draws
    let the tokens change places, and the logits move as far as that choice matters.

    Args:
        module: in evaluation mode.
        clips: a batch as the module takes it.
        logits: (B, classes) of the module itself.
        enough: (B,), the search ends once every clip has moved farther than that.

    Returns:
        (B,) largest absolute difference to ``logits``.
    """
    generator = torch.Generator().manual_seed(0)
    spread = np.zeros(len(clips), logits.dtype)
    for _ in range(NUM_DRAWS):
        moved = functional_call(module, _moved_weights(module, generator), (clips,)).numpy()
        spread = np.maximum(spread, np.abs(moved - logits).max(1))
        if (spread > enough).all():
            break
    return spread


def is_tie(difference: np.ndarray, spread: np.ndarray, allowed: float) -> np.ndarray:
    """Whether rounding explains the difference of a file's logits to the eager model's.

    It does where it moves the eager model's own logits by more than what is allowed, and as far,
    give or take what is allowed: the rest of what separates two models that choose alike.

    Args:
        difference: (B,) of the file to the eager model.
        spread: (B,) see :func:`rounding_spread`.
        allowed: what counts as agreement.
    """
    return spread > needed_spread(difference, allowed)


def needed_spread(difference: np.ndarray, allowed: float) -> np.ndarray:
    """What rounding must exceed to explain a difference (B,), see :func:`is_tie`."""
    return np.maximum(difference - allowed, allowed)


def _moved_weights(module: ClipClassifier, generator: torch.Generator) -> dict[str, Tensor]:
    return {
        name: value * (1 + ROUNDING * torch.randn(value.shape, generator=generator))
        for name, value in module.named_parameters()
    }
