"""What the tests of conversions share."""

from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import Tensor

from .tiny import Tiny

SUFFIXES = ('.safetensors', '.pth')


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


def half_weights(tiny: Tiny) -> dict[str, Tensor]:
    return {name: value.half() for name, value in load_file(tiny.checkpoint).items()}
