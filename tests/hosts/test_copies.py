"""Pickle, torch.save and deepcopy take the pruning along, and the copy is a model of its own."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import sta
from tests.fake_packages import run_python

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


def test_another_process_runs_the_pruned_model(tmp_path) -> None:
    """Also when hooks are added there: their numbers do not collide with those in the file."""
    pytest.importorskip('transformers')
    from tests.hosts.pairs import huggingface

    pair = huggingface()
    sta.apply(pair.host, schedule=2)
    clip = pair.given.transpose(1, 2)
    torch.save((pair.host, clip, pair.run()), tmp_path / 'model.pt')
    code = f"""
import torch, sta
model, clip, expected = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)
for module in model.modules():
    module.register_forward_hook(lambda *given: None)
with torch.no_grad():
    torch.testing.assert_close(model(clip).logits, expected, atol=1e-6, rtol=0)
    print([kept.shape[1] for kept in sta.kept(model)])
"""
    done = run_python('-c', code)
    assert done.stdout == '[112, 104, 100]\n', done.stderr


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
