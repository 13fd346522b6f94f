"""Where the time of a forward pass goes: linear layers, attention, moving tokens, pruning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from sta.pruning import WatchedPruner

PARTS = ('linear layers', 'attention', 'windows and filling', 'pruning', 'norms and GELU', 'rest')
_ATTENTION, _PRUNING = 'sta: attention', 'sta: pruning'
_LINEAR = ('aten::addmm', 'aten::mm', 'aten::mkldnn_convolution', 'aten::convolution_overrideable')
_LINEAR += ('aten::cudnn_convolution', 'aten::_addmm_activation', 'aten::slow_conv3d_forward')
_MOVING = ('aten::index_select', 'aten::gather', 'aten::cat', 'aten::roll', 'aten::constant_pad_nd')
_NORMS = ('aten::native_layer_norm', 'aten::gelu')


def time_by_part(model: nn.Module, run: Callable[[], Any], *, rounds: int) -> dict[str, float]:
    """Milliseconds that each of ``PARTS`` takes in a forward pass, on a CPU.

    The profiler slows small operations a little: the parts are shares to be compared, the sum is
    not the time of a benchmark.

    Args:
        model: a backbone of ours or mmaction2's; attention is what its '.attn' modules do besides
            linear layers.
        run: one forward pass of it.
        rounds: forwards to average over, after one that is not counted.
    """
    run()
    with _named(model), profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(rounds):
            run()
    spent = dict.fromkeys(PARTS, 0.0)
    for event in profiler.events():
        spent[_part_of(event)] += event.self_cpu_time_total / 1e3 / rounds
    return spent


@contextmanager
def _named(model: nn.Module) -> Iterator[None]:
    """Name attention and pruning in the profile for as long as the block runs."""
    open_regions: list[record_function] = []

    def enter(*_: Any) -> None:
        open_regions.append(record_function(_ATTENTION).__enter__())

    def leave(*_: Any) -> None:
        open_regions.pop().__exit__(None, None, None)

    pruner = getattr(model, 'pruner', None)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name.endswith('.attn'):
                stack.callback(module.register_forward_pre_hook(enter).remove)
                stack.callback(module.register_forward_hook(leave).remove)
        if pruner is not None:
            model.pruner = WatchedPruner(pruner, around=lambda: record_function(_PRUNING))
            stack.callback(setattr, model, 'pruner', pruner)
        yield


def _part_of(event: Any) -> str:
    regions = set()
    above = event
    while above is not None:
        regions.add(above.name)
        above = above.cpu_parent
    if _PRUNING in regions:
        return 'pruning'
    for part, names in (
        ('linear layers', _LINEAR),
        ('windows and filling', _MOVING),
        ('norms and GELU', _NORMS),
    ):
        if regions & set(names):
            return part
    return 'attention' if _ATTENTION in regions else 'rest'
