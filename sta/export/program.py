"""From a module to a graph that takes any batch size, or one where it must be."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch.export import Dim, ExportedProgram

from .classifier import ClipClassifier, ExportError


class Captured(NamedTuple):
    """A graph with its weights.

    Attributes:
        program: torch's exported program.
        batch_size: the only one it takes; None for any.
        note: why it takes one only, where any was asked for; else ''.
    """

    program: ExportedProgram
    batch_size: int | None
    note: str = ''


@torch.no_grad()
def capture(
    module: ClipClassifier, clip_shape: tuple[int, ...], *, batch_size: int | None = None
) -> Captured:
    """Trace a classifier.

    Args:
        module: in evaluation mode, on the CPU.
        clip_shape: (3, frames, H, W).
        batch_size: the only one that the graph is to take; None for any.

    Raises:
        ExportError: torch cannot trace the model.
    """
    # Two clips: torch takes a batch of one for a constant.
    clips = module.example(batch_size or 2, clip_shape, seed=0)
    with quietly():
        if batch_size is not None:
            return Captured(_traced(module, clips, None), batch_size)
        try:
            return Captured(_traced(module, clips, ({0: Dim('batch', min=1)},)), None)
        except ExportError as error:
            program = _traced(module, clips[:1], None)
            return Captured(program, 1, f'the batch size is fixed to 1: {error}')


def _traced(
    module: ClipClassifier, clips: torch.Tensor, dynamic_shapes: tuple | None
) -> ExportedProgram:
    try:
        return torch.export.export(module, (clips,), dynamic_shapes=dynamic_shapes)
    except Exception as error:  # whatever a foreign head or pruner runs into
        reason = str(error).strip().splitlines() or ['no reason given']
        raise ExportError(
            f'torch.export cannot trace the model: {type(error).__name__}: {reason[0][:300]}'
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Keep torch's remarks about its own exporters off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)
