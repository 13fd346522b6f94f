"""Compilers and exporters get through the backbones: one graph, whatever the pruner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from torch.testing import assert_close

from sta.models import swin_attention as windows
from sta.models.prunable import PrunableBackbone
from sta.pruning import Variant
from tests.models.small_swin import small_swin
from tests.models.small_vit import PRUNERS, clips, small_vit

PER_CHUNK = [name for name in PRUNERS if name not in ('merge', 'drop', 'vid-tldr')]
MORE = {
    'temporal': {'type': 'STAPruner', 'score': 'temporal'},
    'semantic': {'type': 'STAPruner', 'score': 'semantic', 'similarity': 'ffn'},
    'paper': {'type': 'STAPruner', 'affinity': 'dot', 'previous': 'kept'},
    'rounds': {'type': 'STAPruner', 'first_frame': 'tome_rounds', 'similarity': 'value'},
}
ALL = {**PRUNERS, **MORE}
QUICK = {
    'vit': ('unpruned', 'sta', 'random', 'merge'),
    'swin': ('sta',),
}
CASES = [
    pytest.param(kind, name, marks=() if name in QUICK[kind] else pytest.mark.slow)
    for kind, names in (('vit', ALL), ('swin', (*PER_CHUNK, *MORE)))
    for name in ('unpruned', *names)
]
# Reading a value on the host, or a shape that depends on values: neither fits into a CUDA graph.
ON_THE_HOST = {'_local_scalar_dense', 'item', 'nonzero', 'unique_dim', '_unique2', 'masked_select'}


def tiny(kind: str, name: str) -> tuple[PrunableBackbone, Callable[..., torch.Tensor]]:
    """A backbone of the kind under a pruner, and what makes clips for it: number, seed."""
    pruner = ALL.get(name)
    if kind == 'vit':
        # More than half goes, which takes those that pair tokens two rounds.
        stage = dict(after_block=0, num_chunks=4, num_drop=9, backward=False)
        schedule = None if pruner is None else [stage]
        model = small_vit(depth=2, num_frames=8, schedule=schedule, pruner=pruner)
        return model, lambda number, seed=0: clips(number, seed, frames=8)
    arch = {'embed_dims': 8, 'depths': [2, 2], 'num_heads': [2, 2]}
    model = small_swin(arch=arch, schedule=None if pruner is None else [9], pruner=pruner)
    return model, lambda number, seed=0: clips(number, seed, frames=4)


def compiled(model: Any, backend: str) -> Callable[[torch.Tensor], torch.Tensor]:
    torch._dynamo.reset()
    counters.clear()
    return torch.compile(model, fullgraph=True, backend=backend)


@pytest.fixture(autouse=True)
def without_gradients() -> Any:
    with torch.no_grad():
        yield
    torch._dynamo.reset()


@pytest.mark.parametrize(('kind', 'name'), CASES)
def test_one_graph_serves_every_batch_of_a_size(kind: str, name: str) -> None:
    model, make = tiny(kind, name)
    run = compiled(model, 'eager')
    for seed in range(3):
        clip = make(2, seed)
        assert_close(run(clip), model(clip), rtol=0, atol=0)
    assert counters['stats']['unique_graphs'] == 1
    assert not counters['graph_break']


@pytest.mark.parametrize('kind', ['vit', pytest.param('swin', marks=pytest.mark.slow)])
def test_every_variant_compiles_once(kind: str) -> None:
    """Settings are parsed anew whenever a variant is set; the graphs made for them still hold."""
    model, make = tiny(kind, 'sta')
    variants = [Variant('sta', ALL['sta'], model.schedule), Variant('unpruned', None, None)]
    variants.append(Variant('temporal', ALL['temporal'], model.schedule))
    run, clip = compiled(model, 'eager'), make(2)
    for _ in range(2):
        for variant in variants:
            with model.using(variant):
                assert_close(run(clip), model(clip), rtol=0, atol=0)
    assert counters['stats']['unique_graphs'] == 3


@pytest.mark.parametrize(('kind', 'name'), CASES)
def test_exported_graphs_take_any_batch_and_ask_the_host_nothing(kind: str, name: str) -> None:
    model, make = tiny(kind, name)
    batch = torch.export.Dim('batch', min=1)
    program = torch.export.export(model, (make(2),), dynamic_shapes=({0: batch},))
    for number in (1, 3):
        clip = make(number, seed=number)
        assert_close(program.module()(clip), model(clip), rtol=0, atol=1e-6)
    called = [node for node in program.graph.nodes if node.op == 'call_function']
    names = {getattr(node.target, '_opname', '') for node in called}
    assert 'linear' in names and not names & ON_THE_HOST


def test_export_before_the_first_forward_leaves_the_model_usable() -> None:
    """Tensors without values would otherwise stay in the cache of window layouts."""
    model, make = tiny('swin', 'sta')
    windows._lay_windows.cache_clear()
    program = torch.export.export(model, (make(2),))
    clip = make(2, seed=5)
    assert_close(model(clip), program.module()(clip), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kind', 'name'), [('vit', 'sta'), ('vit', 'merge'), ('vit', 'random'), ('swin', 'sta')]
)
def test_inductor_gives_the_same_features(kind: str, name: str) -> None:
    model, make = tiny(kind, name)
    run = compiled(model, 'inductor')
    for seed in range(2):
        clip = make(2, seed)
        assert_close(run(clip), model(clip), rtol=1e-5, atol=1e-5)
    assert counters['stats']['unique_graphs'] == 1


@pytest.mark.gpu
@pytest.mark.parametrize(('kind', 'name'), [('vit', 'sta'), ('vit', 'merge'), ('swin', 'sta')])
def test_a_cuda_graph_replays_the_forward(kind: str, name: str) -> None:
    model, make = tiny(kind, name)
    model = model.cuda()
    still = make(2).cuda()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # index maps are laid before the capture
        for _ in range(2):
            model(still)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        features = model(still)
    other = make(2, seed=7).cuda()
    still.copy_(other)
    graph.replay()
    assert_close(features, model(other), rtol=1e-5, atol=1e-5)
