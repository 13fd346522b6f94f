"""Other versions of transformers, other attributes of its outputs, wrappers around a model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sta
from tests.hosts.pairs import huggingface, mmaction_swin, mmaction_vit, timm

pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')


class OlderAttention(nn.Module):
    """As in transformers 4: biases beside the layers, which are used as matrices only."""

    def __init__(self, newer: nn.Module) -> None:
        super().__init__()
        self.num_attention_heads = newer.num_attention_heads
        for part in ('query', 'key', 'value'):
            layer = getattr(newer, part)
            bare = nn.Linear(layer.in_features, layer.out_features, bias=False)
            bare.weight = layer.weight
            setattr(self, part, bare)
        self.q_bias, self.v_bias = newer.query.bias, newer.value.bias

    def forward(self, hidden_states: Tensor, *unused: object) -> tuple[Tensor, None]:
        parts = []
        for part, bias in (('query', self.q_bias), ('key', None), ('value', self.v_bias)):
            projected = F.linear(hidden_states, getattr(self, part).weight, bias)
            parts.append(projected.unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2))
        return F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2), None


class TupleLayer(nn.Module):
    """As in transformers 4: a layer that puts out a tuple."""

    def __init__(self, newer: nn.Module) -> None:
        super().__init__()
        for name, child in newer.named_children():
            self.add_module(name, child)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, str]:
        attended = self.attention(self.layernorm_before(hidden_states)) + hidden_states
        transformed = self.intermediate(self.layernorm_after(attended))
        return self.output(transformed, attended), 'attentions'


class TupleEncoder(nn.Module):
    def __init__(self, newer: nn.Module) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TupleLayer(layer) for layer in newer.layer)
        for layer in self.layer:
            layer.attention.attention = OlderAttention(layer.attention.attention)

    def forward(self, hidden_states: Tensor) -> object:
        from transformers.modeling_outputs import BaseModelOutput

        for layer in self.layer:
            hidden_states, attentions = layer(hidden_states)
            assert attentions == 'attentions'
        return BaseModelOutput(last_hidden_state=hidden_states)


@pytest.mark.parametrize('similarity', ['query', 'key', 'value', 'ffn'])
def test_the_structure_of_transformers_4(similarity) -> None:
    pair = huggingface()
    whole = pair.run()
    pair.host.videomae.encoder = TupleEncoder(pair.host.videomae.encoder)
    torch.testing.assert_close(pair.run(), whole, atol=1e-5, rtol=0)
    pruner = {'type': 'STAPruner', 'similarity': similarity}
    expected, kept = pair.pruned_by_ours(2, pruner)
    with sta.pruned(pair.host, schedule=2, pruner=pruner) as run:
        torch.testing.assert_close(pair.run(), expected, atol=1e-5, rtol=0)
    assert torch.equal(run.kept[-1], kept[-1])


@pytest.mark.parametrize('asked_before', [False, True])
def test_hidden_states_are_the_pruned_ones(asked_before) -> None:
    """transformers hooks the layers itself, when it is first asked for them."""
    pair = huggingface()
    clip = pair.given.transpose(1, 2)
    if asked_before:
        pair.host(clip, output_hidden_states=True)
    with sta.pruned(pair.host, schedule=2) as run:
        states = pair.host(clip, output_hidden_states=True).hidden_states
        logits = pair.run()
    lengths = [state.shape[1] for state in states]
    assert lengths == [128, 112, 112, 104, 104, 100, 100] if asked_before else lengths[2] == 112
    assert [kept.shape[1] for kept in run.kept] == [112, 104, 100]
    torch.testing.assert_close(logits, pair.pruned_by_ours(2)[0], atol=1e-5, rtol=0)


def test_labels_and_tuples_of_transformers() -> None:
    pair = huggingface()
    clip, labels = pair.given.transpose(1, 2), torch.tensor([1, 3])
    expected, _ = pair.pruned_by_ours(2)
    sta.apply(pair.host, schedule=2)
    loss, logits = pair.host(pixel_values=clip, labels=labels, return_dict=False)[:2]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(loss, F.cross_entropy(expected, labels), atol=1e-5, rtol=0)


def test_subclasses_and_wrappers() -> None:
    pair = huggingface()
    expected, _ = pair.pruned_by_ours(2)

    class Mine(type(pair.host)):
        pass

    pair.host.__class__ = Mine
    wrapped = nn.Sequential(nn.Identity(), pair.host)
    assert sta.apply(wrapped, schedule=2) is wrapped
    torch.testing.assert_close(pair.run(), expected, atol=1e-5, rtol=0)
    assert sta.kept(pair.host) is sta.kept(wrapped)
    sta.remove(pair.host)
    assert sta.kept(wrapped) is None


def test_a_block_on_its_own_is_refused() -> None:
    """It cannot know which clips its tokens are of; those without a stage run."""
    pair = mmaction_vit()
    blocks, tokens = pair.host.backbone.blocks, torch.randn(2, 40, 24)
    with torch.no_grad():
        expected = blocks[0](tokens)
        sta.apply(pair.host, schedule=2)
        pair.run()
        with pytest.raises(sta.HostModelError, match='block 0 drops tokens, but runs outside'):
            blocks[0](tokens)
        blocks[1](tokens)
        assert torch.equal(sta.remove(pair.host).backbone.blocks[0](tokens), expected)


SLOW = [pytest.param(make, marks=pytest.mark.slow) for make in (mmaction_vit, mmaction_swin, timm)]


@pytest.mark.filterwarnings('ignore:Dynamo detected a call to a `functools.lru_cache`')
@pytest.mark.parametrize('make', [huggingface, *SLOW])
def test_a_model_compiled_by_dynamo(make) -> None:
    """One graph, hooks included (VideoSwin: several), with the same result."""
    pair = make()
    sta.apply(pair.host, schedule=pair.schedule, **pair.settings)
    expected = pair.run()
    inner = getattr(pair.host, 'backbone', pair.host)
    compiled = torch.compile(inner, backend='eager', fullgraph=make is not mmaction_swin)
    with torch.no_grad():
        if inner is pair.host:
            found = pair.logits(compiled, pair.given)
        else:
            found = pair.host.cls_head(compiled(pair.given))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert torch.equal(pair.run(), expected)


@pytest.mark.filterwarnings('ignore:Dynamo detected a call to a `functools.lru_cache`')
@pytest.mark.parametrize('make', [huggingface, *SLOW])
@pytest.mark.parametrize(
    'way', ['torch.compile', pytest.param('model.compile', marks=pytest.mark.slow)]
)
def test_pruning_comes_and_goes_in_a_compiled_model(make, way) -> None:
    """Compiled and run whole, pruned, with another pruner, and whole again."""
    pair = make()
    inner = getattr(pair.host, 'backbone', pair.host)
    compiled = inner
    if way == 'torch.compile':
        compiled = torch.compile(inner, backend='eager')
    else:
        inner.compile(backend='eager')

    def run() -> Tensor:
        with torch.no_grad():
            if inner is pair.host:
                return pair.logits(compiled, pair.given)
            return pair.host.cls_head(compiled(pair.given))

    whole = run()
    found = []
    for pruner in ({'type': 'STAPruner'}, {'type': 'RandomPruner', 'seed': 3}):
        sta.apply(compiled, schedule=pair.schedule, pruner=pruner, **pair.settings)
        expected, _ = pair.pruned_by_ours(pair.schedule, pruner)
        torch.testing.assert_close(run(), expected, atol=1e-5, rtol=0)
        found.append(expected)
    assert (found[0] - found[1]).abs().max() > 1e-3
    if make is not timm:  # whose model, left whole, sees frame by frame
        assert min((whole - other).abs().max() for other in found) > 1e-3
    sta.remove(compiled)
    torch.testing.assert_close(run(), whole, atol=1e-6, rtol=0)


def test_maps_of_timm_are_refused_while_tokens_are_dropped() -> None:
    pair = timm()
    frames = pair.given.transpose(1, 2).flatten(0, 1)
    with torch.no_grad():
        whole = pair.host.forward_intermediates(frames)
        before = set(pair.host.__dict__)
        with sta.pruned(pair.host, schedule=2, num_frames=8):
            with pytest.raises(sta.HostModelError, match='forward_intermediates wants the whole'):
                pair.host.forward_intermediates(frames)
        assert set(pair.host.__dict__) == before
        again = pair.host.forward_intermediates(frames)
    if isinstance(whole, list):  # the stand-in; timm gives a pair
        assert all(torch.equal(a, b) for a, b in zip(whole, again))


def test_replicas_of_a_swin_are_refused() -> None:
    pair = mmaction_swin()
    with pytest.raises(sta.HostModelError, match='use one process per GPU'):
        sta.apply(nn.DataParallel(pair.host), schedule=pair.schedule)
    assert sta.kept(pair.host) is None


def test_blocks_compiled_one_by_one_are_named() -> None:
    pair = huggingface()
    for layer in pair.host.videomae.encoder.layer:
        layer.compile(backend='eager')
    with sta.pruned(pair.host, schedule=2):
        with pytest.raises(sta.HostModelError, match='given its blocks one by one: compile the'):
            pair.run()
