"""Where the time goes: every part that a forward has is found, and nothing stays behind."""

from __future__ import annotations

import pytest
import torch

from sta.analysis.speed import PARTS, time_by_part
from tests.models.small_swin import DROPS, small_swin
from tests.models.small_vit import clips, small_vit


def parts_of(model, clip) -> dict[str, float]:
    with torch.no_grad():
        return time_by_part(model, lambda: model(clip), rounds=2)


def test_a_pruned_videoswin_spends_time_on_everything() -> None:
    model, clip = small_swin(schedule=DROPS), clips(1, frames=8, size=64)
    pruner = model.pruner
    spent = parts_of(model, clip)
    assert tuple(spent) == PARTS and all(ms > 0 for ms in spent.values())
    assert model.pruner is pruner
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    'model, clip',
    [(small_vit(), clips(1)), (small_swin(), clips(1, frames=8, size=64))],
    ids=['vit', 'swin'],
)
def test_without_pruning_no_time_goes_there(model, clip) -> None:
    for contestant in (model, model.host()):
        spent = parts_of(contestant, clip)
        assert spent['pruning'] == 0
        assert min(spent[part] for part in ('linear layers', 'attention', 'norms and GELU')) > 0


def test_products_of_matrices_are_told_from_attention() -> None:
    """One wide linear layer behind nothing: all but a little of the time."""

    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1024, 4096)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    spent = parts_of(Wide(), torch.ones(512, 1024))
    assert spent['linear layers'] > 0.8 * sum(spent.values()) and spent['attention'] == 0
