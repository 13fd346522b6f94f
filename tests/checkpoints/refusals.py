"""A refusal to read a file, checked to be one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sta.checkpoints import read_state_dict
from sta.errors import CheckpointError


def refusal(path: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert '\n' not in message and str(path) in message
    return message
