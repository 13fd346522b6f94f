"""What is exported: one module from a batch of clips to logits, at one schedule."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from sta.errors import ExportError
from sta.models.prunable import ClipShape, PrunableRecognizer

# What the exported model takes: clips as the backbone sees them, or RGB from 0 to 255.
INPUTS = ('normalised', 'float', 'uint8')


class ClipClassifier(nn.Module):
    """Backbone and head of a recognizer, with the normalisation of pixels in front where asked.

    Args:
        model: a recognizer with its weights, the variant to export set on its backbone.
        pixels: one of ``INPUTS``.

    Raises:
        ExportError: parts between backbone and head, a pruner whose shapes depend on the clip, or
            no mean and standard deviation to normalise with.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: PrunableRecognizer, *, pixels: str) -> None:
        super().__init__()
        if getattr(model, 'with_neck', False):
            raise ExportError('a model with a neck cannot be exported: take the neck out')
        if model.backbone.pruner.at_input:
            raise ExportError(
                f'{type(model.backbone.pruner).__name__} lets the clip say how many tokens stay, '
                f'and an exported graph has fixed shapes: choose a pruner with a schedule, '
                f'such as sta'
            )
        self.backbone = model.backbone
        self.head = model.cls_head
        self.pixels = pixels
        mean, std = normalisation(model)
        if pixels != 'normalised' and mean is None:
            raise ExportError(
                f'the config normalises no pixels (data_preprocessor.mean and .std): export with '
                f'normalised clips, got {pixels!r}'
            )
        if pixels != 'normalised':
            self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1, 1))
            self.register_buffer('std', torch.tensor(std).view(-1, 1, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, clips: Tensor) -> Tensor:
        """Classify.

        Args:
            clips: (B, 3, frames, H, W), float32, or uint8 where the pixels are that.

        Returns:
            (B, classes) float32 logits; their softmax is what mmaction2 averages over views.
        """
        if self.pixels != 'normalised':
            clips = (clips.float() - self.mean) / self.std
        return self.head(self.backbone(clips)).float()

    def example(self, batch_size: int, clip_shape: ClipShape, *, seed: int) -> Tensor:
        """Made-up clips (B, 3, frames, H, W): pictures with noise, as this module takes them."""
        generator = torch.Generator().manual_seed(seed)
        channels, frames, height, width = clip_shape
        picture = torch.rand(batch_size, channels, 1, height, width, generator=generator)
        noise = torch.rand(batch_size, channels, frames, height, width, generator=generator)
        clips = (170 * picture + 85 * noise).floor()
        if self.pixels == 'uint8':
            return clips.to(torch.uint8)
        return clips if self.pixels == 'float' else (clips - 127.5) / 57.5


def normalisation(model: Any) -> tuple[list[float] | None, list[float] | None]:
    """Mean and standard deviation of each channel, in RGB from 0 to 255; None where there are none.

    mmaction2's to_rgb turns the channels round before it normalises, so they are always RGB.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    if preprocessor is None or not getattr(preprocessor, '_enable_normalize', False):
        return None, None
    return _said(preprocessor.mean), _said(preprocessor.std)


def _said(values: Tensor) -> list[float]:
    """Stored in float32, said in as many digits."""
    return [float(f'{value:.7g}') for value in values.flatten().tolist()]


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
    module: ClipClassifier, clip_shape: ClipShape, *, batch_size: int | None = None
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
    module: ClipClassifier, clips: torch.Tensor, dynamic_shapes: tuple[dict[int, Dim], ...] | None
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
