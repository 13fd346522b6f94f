"""The description beside an exported model: what goes in, what comes out, how it was made."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from torch import nn

from sta import __version__
from sta.analysis import count_costs
from sta.installed import distribution_version
from sta.pruning import Variant

from .classifier import normalisation
from .program import Captured

LIBRARIES = ('torch', 'mmaction2', 'onnx', 'onnxscript', 'onnxruntime')
_RANGES = {
    'normalised': 'float32: (RGB from 0 to 255, less mean) / std',
    'float': 'float32: RGB from 0 to 255; the model normalises',
    'uint8': 'uint8: RGB from 0 to 255; the model normalises',
}
# Of a config that normalises nothing; ClipClassifier takes no other clips of it.
_UNKNOWN = 'float32: RGB as the test pipeline gives it; the config has no mean and std'


def side_facts(
    model: nn.Module,
    captured: Captured,
    variant: Variant,
    *,
    pixels: str,
    clip_shape: tuple[int, ...],
    classes: Sequence[str] | None,
    made: dict[str, str],
) -> dict[str, Any]:
    """The description as values of JSON.

    Args:
        model: the recognizer.
        captured: its graph.
        variant: what was exported.
        pixels: one of ``INPUTS``.
        clip_shape: (3, frames, H, W).
        classes: names by label, None where they are not known.
        made: command, config and checkpoint.
    """
    cost = count_costs(model, [variant], clip_shape)[0]
    mean, std = normalisation(model)
    with model.backbone.using(variant):
        stages = [dataclasses.asdict(stage) for stage in model.backbone.schedule.stages]
        pruner = type(model.backbone.pruner).__name__
        tokens = model.backbone.tokens_after_stages(clip_shape)
    return {
        'variant': variant.name,
        'pruner': {'type': pruner, **dict(variant.pruner or {})} if stages else None,
        'schedule': stages,
        'tokens_after_stages': tokens,
        'gflops_per_view': cost.gflops_per_view,
        'input': {
            'name': 'clips',
            'shape': [captured.batch_size or 'batch', *clip_shape],
            'axes': 'clips, channels (RGB), frames, rows, columns',
            'values': _UNKNOWN if mean is None else _RANGES[pixels],
            'mean': mean,
            'std': std,
        },
        'output': {
            'name': 'logits',
            'shape': [captured.batch_size or 'batch', model.cls_head.num_classes],
            'values': 'float32, before the softmax; softmax averaged over views scores a video',
        },
        'classes': None if classes is None else list(classes),
        **made,
        'time_utc': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'versions': {
            'sta': __version__,
            'python': platform.python_version(),
            **{name: distribution_version(name) for name in LIBRARIES},
        },
    }
