"""What the scores of a run depend on, as digests: equal ones may share a store, others must not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from sta.datasets.annotations import legible
from sta.evaluation import STORE_FORMAT
from sta.pruning import Variant


def fingerprint_of(
    config: Config, model: nn.Module, dataset: Any, variants: Sequence[Variant], precision: str
) -> dict[str, str]:
    """Digests of weights, model, data, pipeline and variants.

    Settings that change no score are left out: workers, batch size, chunks of views, time limits,
    folders of results.

    Args:
        config: with model and test_dataloader.
        model: with its weights loaded.
        dataset: the built test data set.
        variants: that are evaluated.
        precision: 'fp32', 'bf16' or 'fp16'.

    Returns:
        Name of the part, as a message would call it, to 16 hexadecimal digits.
    """
    loader = config.test_dataloader
    videos = [dataset.get_data_info(i) for i in range(len(dataset))]
    parts = {
        'weights': _digest_of_weights(model),
        'model settings': _digest(config.model),
        'test pipeline': _digest(loader.dataset.get('pipeline')),
        # decord shows other frames than PyAV where it cannot index a file.
        'decoders': _digest(getattr(dataset, 'decoders', None)),
        'videos': _digest([(legible(video['filename']), video['label']) for video in videos]),
        'schedules or pruners': _digest([dataclasses.astuple(variant) for variant in variants]),
        'precision': precision,
        'format of the stored scores': str(STORE_FORMAT),
    }
    return parts


def _digest_of_weights(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(plain.numpy().data)
    return digest.hexdigest()[:16]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return repr(value)
