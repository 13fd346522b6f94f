"""The numbers the paper printed: facts, typed from it, in published.json."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name('published.json')


@lru_cache
def read_published() -> dict[str, Any]:
    """Every table, by name; read only.

    Units: GFLOPs are 1e9 multiply-accumulates per view, accuracies per cent, speeds clips/s.

    Source: Ding et al., ICCV 2023, Tables 1 to 6, Figure 5 and supplementary Tables 1 to 3.
    """
    return json.loads(FILE.read_text(encoding='utf-8'))
