"""Under which conditions scores were made, kept beside them: enough to make the table again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sta.pruning import Variant

from .results import Cost
from .stored import StoreError


@dataclass(frozen=True)
class Conditions:
    """What is the same for every video of a process.

    Attributes:
        variants: that it is scored under.
        costs: of each.
        precision: 'fp32', 'bf16' or 'fp16'.
        hardware: in words.
        class_list: where the names of the classes stand; None if nowhere.
        unpruned_gflops: of one view without pruning; None where an older version did not count.
    """

    variants: tuple[Variant, ...]
    costs: tuple[Cost, ...]
    precision: str
    hardware: str
    class_list: str | None
    unpruned_gflops: float | None = None

    def as_text(self) -> str:
        """JSON, from which :func:`read_conditions` makes them again."""
        return json.dumps(dataclasses.asdict(self), default=_plain)


def read_conditions(texts: Sequence[str]) -> Conditions:
    """The conditions that processes stored, who may differ in their hardware alone.

    Raises:
        StoreError: none, damaged ones, or processes that scored other variants.
    """
    try:
        found = [_parse(json.loads(text)) for text in texts]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f'stored scores do not say what they are of: {error!r}') from None
    if not found:
        raise StoreError('stored scores do not say what they are of: made by an older version?')
    names = list(dict.fromkeys(one.hardware for one in found))
    first, *others = (dataclasses.replace(one, hardware='', unpruned_gflops=None) for one in found)
    if any(other != first for other in others):
        raise StoreError('stored scores are of other variants than each other')
    whole = next((o.unpruned_gflops for o in found if o.unpruned_gflops is not None), None)
    return dataclasses.replace(first, hardware=', '.join(names), unpruned_gflops=whole)


def _parse(found: dict[str, Any]) -> Conditions:
    costs = [
        Cost(**{**cost, 'tokens_after_stages': tuple(cost['tokens_after_stages'])})
        for cost in found['costs']
    ]
    variants = tuple(Variant(**variant) for variant in found['variants'])
    return Conditions(**{**found, 'variants': variants, 'costs': tuple(costs)})


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, 'item') else str(value)
