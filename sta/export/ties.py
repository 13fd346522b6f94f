"""Clips whose logits hang on a rounding, because tokens of nearly equal score may change places."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from .classifier import ClipClassifier

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
