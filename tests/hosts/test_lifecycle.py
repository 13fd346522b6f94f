"""What apply changes, and that remove and the end of a with block change it back."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import sta
from sta.errors import ScheduleError
from tests.hosts.pairs import PAIRS, Pair
from tests.models.small_vit import clips

pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')
HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def num_hooks(model: nn.Module) -> int:
    return sum(len(getattr(module, hooks)) for module in model.modules() for hooks in HOOKS)


def attributes(model: nn.Module) -> list[set[str]]:
    return [set(vars(module)) for module in model.modules()]


def apply(pair: Pair, schedule=None, **pruner) -> None:
    sta.apply(pair.host, schedule=schedule or pair.schedule, **pair.settings, **pruner)


def test_remove_is_exact_and_leaves_nothing(pair) -> None:
    before, attributes_before = pair.run(), attributes(pair.host)
    assert num_hooks(pair.host) == 0
    apply(pair)
    pruned = pair.run()
    assert pruned.shape != before.shape or not torch.equal(pruned, before)
    assert sta.remove(pair.host) is pair.host
    assert torch.equal(pair.run(), before)
    assert num_hooks(pair.host) == 0 and attributes(pair.host) == attributes_before
    assert sta.kept(pair.host) is None
    sta.remove(pair.host)  # nothing there: nothing happens
    assert torch.equal(pair.run(), before)


def test_weights_names_and_classes_stay(pair) -> None:
    values = {name: value.clone() for name, value in pair.host.state_dict().items()}
    classes = [type(module) for module in pair.host.modules()]
    assert sta.apply(pair.host, schedule=pair.schedule, **pair.settings) is pair.host
    for _ in range(2):
        pair.run()
        after = pair.host.state_dict()
        assert list(after) == list(values)
        assert all(torch.equal(after[name], values[name]) for name in values)
        assert [type(module) for module in pair.host.modules()] == classes
        assert len(list(pair.host.parameters())) == len(list(sta.remove(pair.host).parameters()))


def test_pruning_follows_new_weights(pair) -> None:
    """load_state_dict and arithmetic in place, while pruning is on."""
    apply(pair)
    pruned = pair.run()
    state = {name: value.clone() for name, value in pair.host.state_dict().items()}
    with torch.no_grad():
        for value in pair.host.parameters():
            value.mul_(1.1)
    assert (pair.run() - pruned).abs().max() > 1e-3
    pair.host.load_state_dict(state)
    assert torch.equal(pair.run(), pruned)


def test_double_precision(pair) -> None:
    apply(pair)
    single = pair.run()
    pair.host.double()
    double = pair.run(pair.given.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, atol=1e-4, rtol=0)


def test_apply_replaces(pair) -> None:
    whole = pair.run()
    apply(pair, pruner={'type': 'RandomPruner'})
    random, hooks = pair.run(), num_hooks(pair.host)
    apply(pair)
    assert not torch.equal(pair.run(), random)
    apply(pair, pruner={'type': 'RandomPruner'})
    assert torch.equal(pair.run(), random) and num_hooks(pair.host) == hooks
    sta.remove(pair.host)
    assert torch.equal(pair.run(), whole)


def test_pruned_restores_what_was_there(pair) -> None:
    whole = pair.run()
    with sta.pruned(pair.host, schedule=pair.schedule, **pair.settings) as run:
        outer, outer_kept = pair.run(), run.kept
        inside = {'schedule': pair.schedule, 'pruner': {'type': 'RandomPruner'}, **pair.settings}
        with pytest.raises(ZeroDivisionError), sta.pruned(pair.host, **inside):
            assert not torch.equal(pair.run(), outer)
            raise ZeroDivisionError
        assert torch.equal(pair.run(), outer)
        assert all(torch.equal(a, b) for a, b in zip(sta.kept(pair.host), outer_kept))
        with sta.pruned(pair.host, **inside):
            sta.remove(pair.host)
        assert torch.equal(pair.run(), outer)
    assert torch.equal(pair.run(), whole) and num_hooks(pair.host) == 0
    assert run.schedule.active and type(run.pruner).__name__ == 'STAPruner'


def test_an_error_leaves_the_model_as_it_was(pair) -> None:
    apply(pair)
    pruned, hooks = pair.run(), num_hooks(pair.host)
    for wrong in ({'schedule': 10**6}, {'schedule': 2, 'pruner': {'type': 'ToMeMergePruner'}}):
        with pytest.raises(ValueError):
            sta.apply(pair.host, **wrong, **pair.settings)
        with pytest.raises(ValueError), sta.pruned(pair.host, **wrong, **pair.settings):
            pass
    assert torch.equal(pair.run(), pruned) and num_hooks(pair.host) == hooks


def test_a_forward_that_fails_leaves_no_state(pair) -> None:
    apply(pair)
    pruned = pair.run()
    head = next(m for m in reversed(list(pair.host.modules())) if isinstance(m, nn.Linear))
    weight, head.weight = head.weight, nn.Parameter(torch.zeros(3, 7))
    with pytest.raises(RuntimeError):
        pair.run()
    head.weight = weight
    assert torch.equal(pair.run(), pruned)


def test_two_models_do_not_mix(pair) -> None:
    other = PAIRS['transformers']()
    expected, _ = other.pruned_by_ours(3)
    apply(pair)
    sta.apply(other.host, schedule=3)
    first = pair.run()
    torch.testing.assert_close(other.run(), expected, atol=1e-5, rtol=0)
    sta.remove(other.host)
    assert torch.equal(pair.run(), first)
    assert (other.run() - expected).abs().max() > 1e-3


@pytest.mark.parametrize('name', ['transformers', 'mmaction2 ViT', 'timm'])
def test_threads_that_share_a_model_do_not_mix(name) -> None:
    """As nn.DataParallel runs replicas: hooks are shared, the forward passes are not."""
    pair = PAIRS[name]()
    apply(pair, pruner={'type': 'RandomPruner'})
    frames = pair.given.shape[2]
    given = [clips(i % 2 + 1, seed=i, frames=frames) for i in range(6)]
    expected = [pair.run(clip) for clip in given]
    found = [None] * len(given)

    def work(i: int) -> None:
        for _ in range(5):
            found[i] = pair.run(given[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_training_mode_follows_the_host(pair) -> None:
    apply(pair)
    evaluated = pair.run()
    pair.host.train()
    for module in pair.host.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    trained = pair.run()
    torch.testing.assert_close(trained, evaluated, atol=1e-6, rtol=0)
    pair.host.eval()
    assert torch.equal(pair.run(), evaluated)


@pytest.mark.parametrize('name', ['mmaction2 ViT', 'transformers'])
def test_a_resolution_that_cannot_hold_the_schedule(name) -> None:
    pair = PAIRS[name]()
    apply(pair, schedule=[15, 0, 0])
    with pytest.raises(ValueError) as error:
        pair.run(clips(1, size=24))
    if name == 'mmaction2 ViT':
        assert isinstance(error.value, ScheduleError)
        assert 'cannot drop 15 of 9 tokens per chunk' in str(error.value)
