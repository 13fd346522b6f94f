"""Pickle, torch.save and deepcopy take the pruning along, and the copy is a model of its own."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

import sta

pytestmark = [
    pytest.mark.filterwarnings('ignore:torch.meshgrid'),
    pytest.mark.usefixtures('importable_standin'),
]


def by_torch_save(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    'pickle': lambda model: pickle.loads(pickle.dumps(model)),
    'deepcopy': copy.deepcopy,
    'torch.save': by_torch_save,
    'twice': lambda model: by_torch_save(copy.deepcopy(model)),
}


@pytest.mark.parametrize('way', COPIES)
def test_copies_prune_and_can_be_freed_of_it(pair, way) -> None:
    whole = pair.run()
    sta.apply(pair.host, schedule=pair.schedule, pruner={'type': 'RandomPruner'}, **pair.settings)
    pruned = pair.run()
    twin = COPIES[way](pair.host)
    assert sta.kept(twin) is None  # results do not travel
    of_twin = pair._replace(host=twin)
    assert torch.equal(of_twin.run(), pruned)
    assert all(torch.equal(a, b) for a, b in zip(sta.kept(twin), sta.kept(pair.host)))
    with torch.no_grad():
        for value in pair.host.parameters():
            value.zero_()  # the copy runs on weights of its own
    assert torch.equal(of_twin.run(), pruned)
    sta.remove(twin)
    assert torch.equal(of_twin.run(), whole)
    sta.apply(twin, schedule=pair.schedule, pruner={'type': 'RandomPruner'}, **pair.settings)
    sta.remove(pair.host)
    assert torch.equal(of_twin.run(), pruned)


def test_numbers_of_hooks_do_not_collide_in_another_process(pair, monkeypatch) -> None:
    """A new process counts its hooks from 0, as those in the file were counted."""
    sta.apply(pair.host, schedule=pair.schedule, **pair.settings)
    pruned, file = pair.run(), pickle.dumps(pair.host)
    monkeypatch.setattr(RemovableHandle, 'next_id', 0)
    twin = pair._replace(host=pickle.loads(file))
    calls = []
    for module in twin.host.modules():
        module.register_forward_hook(lambda *given: calls.append(1))
    assert torch.equal(twin.run(), pruned) and calls
    sta.remove(twin.host)
    assert all(len(module._forward_hooks) == 1 for module in twin.host.modules())


def test_a_state_dict_goes_into_a_fresh_model(pair) -> None:
    """What is saved while pruning is on is what is saved without."""
    whole = pair.run()
    sta.apply(pair.host, schedule=pair.schedule, **pair.settings)
    file = io.BytesIO()
    torch.save(pair.host.state_dict(), file)
    file.seek(0)
    fresh = sta.remove(copy.deepcopy(pair.host))
    with torch.no_grad():
        for value in fresh.parameters():
            value.zero_()
    fresh.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(pair._replace(host=fresh).run(), whole)


def test_save_pretrained_and_back(tmp_path) -> None:
    transformers = pytest.importorskip('transformers')
    from tests.hosts.pairs import huggingface

    pair = huggingface()
    whole = pair.run()
    sta.apply(pair.host, schedule=2).save_pretrained(tmp_path)
    again = transformers.VideoMAEForVideoClassification.from_pretrained(tmp_path).eval()
    for ours, theirs in zip(pair.host.modules(), again.modules()):
        if isinstance(ours, nn.LayerNorm):
            theirs.eps = ours.eps  # set by the test, not in the config
    assert torch.equal(pair._replace(host=again).run(), whole)
