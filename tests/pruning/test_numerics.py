"""prune_stage: ties, degenerate clips, half precision, gradients, no host synchronisation."""

from __future__ import annotations

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from sta.pruning import (
    PruningStage,
    RandomPruner,
    STAPruner,
    ToMeMergePruner,
    TubeRandomPruner,
    prune_stage,
)
from tests.pruning import reference
from tests.pruning.inputs import random_stage, stage_context


def constant_keys(kind: str, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return {
        'zero': torch.zeros(width),
        'one': torch.ones(width),
        'random': torch.randn(width, generator=generator),
    }[kind]


def constant_clip_kept(num_tokens: int, num_drop: int, num_chunks: int) -> list[int]:
    """First chunk: the odd places, then the even ones; later chunks: the first places."""
    left = num_tokens - num_drop
    first = [*range(1, num_tokens, 2), *range(0, num_tokens, 2)][:left]
    return first + [t * num_tokens + i for t in range(1, num_chunks) for i in range(left)]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('num_tokens', [7, 36, 196])
@pytest.mark.parametrize('kind', ['zero', 'one', 'random'])
def test_a_constant_clip_is_decided_by_position(kind, num_tokens, dtype) -> None:
    num_drop = num_tokens // 3
    keys = constant_keys(kind, 16).expand(2, 3 * num_tokens, 16).to(dtype)
    tokens, kept = prune_stage(keys, keys, num_chunks=3, num_drop=num_drop)
    assert kept.tolist() == [constant_clip_kept(num_tokens, num_drop, 3)] * 2
    assert torch.isfinite(tokens).all()


def test_a_constant_clip_backward() -> None:
    clip = torch.ones(1, 3 * 5, 4)
    _, kept = prune_stage(clip, clip, num_chunks=3, num_drop=2, backward=True)
    assert kept.tolist() == [[0, 1, 2, 5, 6, 7, 10 + 1, 10 + 3, 10 + 0]]


@pytest.mark.parametrize('num_tokens', [25, 49, 121, 196, 225])
@pytest.mark.parametrize('clips', [1, 2])
def test_a_constant_clip_alone_is_the_clip_in_a_batch(clips, num_tokens) -> None:
    """Matrix times vector may round its last row differently; equal tokens must not notice."""
    num_drop = num_tokens // 3
    keys = constant_keys('random', 64).expand(clips, 4 * num_tokens, 64)
    _, kept = prune_stage(keys, keys, num_chunks=4, num_drop=num_drop)
    assert kept.tolist() == [constant_clip_kept(num_tokens, num_drop, 4)] * clips


def few_valued_clip(seed: int, units: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two clips of 4 chunks of 21 tokens, each one of five, as in a grid filled from survivors.

    In the first chunk no token finds its own value among its candidates: the cosine of a vector
    with itself is 1 up to rounding, which would make ties of different values a matter of luck.
    """
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(5, 4, generator=generator)
    which = torch.randint(0, 5, (2, 4 * 21), generator=generator)
    which[:, 0:21:2] = torch.randint(0, 3, (2, 11), generator=generator)
    which[:, 1:21:4], which[:, 3:21:4] = 3, 4
    return values[which], units[which]


@pytest.mark.parametrize('num_drop', [7, 12])
@pytest.mark.parametrize('exact', [True, False])
@pytest.mark.parametrize('first_frame', ['tome', 'tome_rounds'])
def test_equal_tokens_go_by_position(first_frame, exact, num_drop) -> None:
    units = torch.randn(5, 8, generator=torch.Generator().manual_seed(3))
    for seed in range(8):
        tokens, keys = few_valued_clip(seed, torch.eye(5) if exact else units)
        settings = {'num_chunks': 4, 'num_drop': num_drop, 'first_frame': first_frame}
        expected = reference.prune_stage(tokens.numpy(), keys.numpy(), **settings)
        assert prune_stage(tokens, keys, **settings)[1].tolist() == expected.kept.tolist()


def test_equal_tokens_go_by_position_in_chunks_of_a_real_model() -> None:
    """197 tokens fill no vector unit: of equal tokens the first ones stay, in order."""
    generator = torch.Generator().manual_seed(4)
    which = torch.randint(0, 20, (3 * 197,), generator=generator)
    tokens = torch.randn(20, 384, generator=generator)[which][None]
    keys = torch.randn(20, 64, generator=generator)[which][None]
    kept = prune_stage(tokens, keys, num_chunks=3, num_drop=63)[1].reshape(3, 134)
    for chunk in (1, 2):
        left = kept[chunk].tolist()
        for value in range(20):
            places = [i for i in range(chunk * 197, chunk * 197 + 197) if which[i] == value]
            mine = [i for i in left if which[i] == value]
            assert mine == places[: len(mine)]


def test_one_silent_chunk_between_others() -> None:
    """A black frame must not spoil its neighbours: no NaN is handed on."""
    tokens, keys = random_stage(6, clips=1, length=4 * 9)
    tokens[:, 9:18], keys[:, 9:18] = 0, 0
    expected = reference.prune_stage(tokens.numpy(), keys.numpy(), num_chunks=4, num_drop=4)
    _, kept = prune_stage(tokens, keys, num_chunks=4, num_drop=4)
    assert kept.tolist() == expected.kept.tolist()


@pytest.mark.parametrize('scale', [1e-6, 1e4])
def test_scale_does_not_matter(scale) -> None:
    tokens, keys = random_stage(7, clips=2, length=4 * 12)
    _, kept = prune_stage(tokens, keys, num_chunks=4, num_drop=5)
    _, scaled = prune_stage(tokens * scale, keys * scale, num_chunks=4, num_drop=5)
    assert torch.equal(kept, scaled)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('score', ['product', 'temporal'])
def test_half_precision_scores_in_single(score, dtype) -> None:
    tokens, keys = (x.to(dtype) for x in random_stage(1, clips=2, length=4 * 16, width=16))
    settings = {'num_chunks': 4, 'num_drop': 6, 'score': score}
    found, kept = prune_stage(tokens, keys, **settings)
    _, expected = prune_stage(tokens.float(), keys.float(), **settings)
    assert torch.equal(kept, expected)
    assert found.dtype == dtype
    assert torch.equal(found, tokens.gather(1, kept[..., None].expand(-1, -1, 6)))


def test_large_half_precision_activations_do_not_overflow() -> None:
    """768 channels of 1000 sum to 768 000, far above float16's 65 504."""
    tokens, keys = random_stage(1, clips=1, length=3 * 8, channels=768)
    tokens = (tokens * 1000).half()
    _, kept = prune_stage(tokens, keys.half(), num_chunks=3, num_drop=3)
    _, expected = prune_stage(tokens.float(), keys.half().float(), num_chunks=3, num_drop=3)
    assert torch.equal(kept, expected)


def test_double_precision_stays_double() -> None:
    tokens, keys = (x.double() for x in random_stage(1, clips=1, length=3 * 8))
    found, kept = prune_stage(tokens, keys, num_chunks=3, num_drop=3)
    assert found.dtype == torch.float64
    assert torch.equal(found[0], tokens[0, kept[0]])


@pytest.mark.parametrize('score', ['product', 'temporal'])
def test_autocast_does_not_reach_the_scores(score) -> None:
    tokens, keys = random_stage(1, clips=4, length=4 * 32, width=16)
    settings = {'num_chunks': 4, 'num_drop': 12, 'score': score}
    _, expected = prune_stage(tokens, keys, **settings)
    with torch.autocast('cpu', torch.bfloat16):
        found, kept = prune_stage(tokens, keys, **settings)
    assert torch.equal(kept, expected)
    assert found.dtype == torch.float32


def test_gradients_flow_to_kept_tokens_only() -> None:
    tokens, keys = (x.requires_grad_() for x in random_stage(1, clips=2, length=3 * 8))
    found, kept = prune_stage(tokens, keys, num_chunks=3, num_drop=3)
    weight = torch.arange(1.0, found.numel() + 1).reshape(found.shape)
    (found * weight).sum().backward()
    expected = torch.zeros_like(tokens).scatter(1, kept[..., None].expand(-1, -1, 6), weight)
    assert torch.equal(tokens.grad, expected)
    assert keys.grad is None


PRUNERS = {
    'tome': STAPruner(),
    'tome_rounds': STAPruner(first_frame='tome_rounds'),
    'random first': STAPruner(first_frame='random', previous='kept'),
    'grid first': STAPruner(first_frame='grid', affinity='dot'),
    'random': RandomPruner(),
    'tube': TubeRandomPruner(),
    'merge': ToMeMergePruner(),
}
STAGE = PruningStage(after_block=0, num_chunks=3, num_drop=9, backward=True)


def call(name: str, tokens, keys, positions, clip_ids):
    context = stage_context(2, 48, grid_size=(4, 4), positions=positions)
    context = context._replace(clip_ids=clip_ids)
    features = keys if PRUNERS[name].similarity else None
    return PRUNERS[name](tokens, features, STAGE, context)[:2]


def stage_inputs() -> list[torch.Tensor]:
    positions = torch.arange(16).repeat(3).expand(2, 48).contiguous()
    return [*random_stage(0, clips=2, length=48), positions, torch.tensor([3, 4])]


@pytest.mark.parametrize('name', PRUNERS)
def test_shapes_do_not_depend_on_values(name) -> None:
    """Tensors without values: `.item()` and data-dependent shapes fail on them."""
    found, kept = call(name, *(x.to('meta') for x in stage_inputs()))
    assert found.device.type == kept.device.type == 'meta'
    assert found.shape == (2, 21, 6) and kept.shape == (2, 21)


@pytest.mark.parametrize('name', PRUNERS)
def test_traced_once_it_serves_other_values(name) -> None:
    """One graph for all clips: no branch and no constant hangs on the values traced with."""
    inputs = stage_inputs()
    graph = make_fx(lambda *args: call(name, *args), tracing_mode='fake')(*inputs)
    tokens, keys = random_stage(77, clips=2, length=48)
    other = [tokens, keys, inputs[2], torch.tensor([8, 1])]
    for found, expected in zip(graph(*other), call(name, *other)):
        assert torch.equal(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('name', PRUNERS)
def test_no_host_synchronisation_on_cuda(name) -> None:
    inputs = [x.cuda() for x in stage_inputs()]
    call(name, *inputs)
    torch.cuda.set_sync_debug_mode('error')
    try:
        call(name, *inputs)
    finally:
        torch.cuda.set_sync_debug_mode('default')
