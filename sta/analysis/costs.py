"""Count multiply-accumulates on the model that runs, fused attention included.

1 GFLOP = 1e9 multiply-accumulates, the convention of fvcore and of the paper. fvcore, mmengine and,
on a CPU, torch's own counter report nothing for fused attention. Here the model runs once on the
meta device, which computes shapes only: no weights, no data, about a second for a ViT-H.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from sta.errors import BudgetError, ScheduleError
from sta.evaluation import Cost
from sta.models.prunable import BoundVariant, ClipShape, PrunableBackbone, PrunableRecognizer
from sta.pruning import Pruner, PruningSchedule, Variant

aten = torch.ops.aten
# The names of the fused kernels differ between releases and devices.
ATTENTION = [
    getattr(aten, f'_scaled_dot_product_{kernel}')
    for kernel in (
        'flash_attention_for_cpu',
        'flash_attention',
        'efficient_attention',
        'cudnn_attention',
        'fused_attention_overrideable',
    )
    if hasattr(aten, f'_scaled_dot_product_{kernel}')
]


# What these give is like what goes in, which the meta device derives by slow Python code.
ELEMENTWISE = [
    getattr(aten, name)
    for name in ('add', 'mul', 'gelu', 'clamp_min', 'bitwise_xor', 'bitwise_and', '__rshift__')
]
ELEMENTWISE += [aten._safe_softmax] if hasattr(aten, '_safe_softmax') else []


class Recognizer(nn.Module):
    """Backbone and head in one forward, which is what is counted."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = head

    def forward(self, clip: Tensor) -> Tensor:
        """Map (B, 3, frames, H, W) to (B, classes)."""
        return self.cls_head(self.backbone(clip))


def count_macs(model: nn.Module, clip_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one forward pass, as it would run.

    Counted are convolutions, matrix products, attention as Nq * Nk * (Dk + Dv) per head, and 5 per
    element of a LayerNorm, as fvcore does; element-wise operations count nothing.

    Args:
        model: takes a clip; its weights are neither read nor copied.
        clip_shape: (B, 3, frames, H, W).
    """
    counter = _Counter()
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # In inference mode composed operations, such as linear, would reach the counter whole.
        with torch.inference_mode(False), torch.no_grad():
            tensors = {
                name: tensor.detach().to('meta')
                for name, tensor in (*model.named_parameters(), *model.named_buffers())
            }
            with counter:
                functional_call(model, tensors, (torch.empty(clip_shape, device='meta'),))
    finally:
        for module, training in was_training.items():
            module.training = training
    return counter.macs


def count_costs(
    model: PrunableRecognizer,
    variants: Iterable[Variant | BoundVariant],
    clip_shape: ClipShape,
) -> list[Cost]:
    """Cost of every variant of a recognizer.

    Args:
        model: with ``backbone`` (that takes variants) and ``cls_head``.
        variants: what to count.
        clip_shape: (3, frames, H, W) of one view.

    Raises:
        ScheduleError: a variant does not fit the model, or costs what its clips make it cost.
    """
    whole = Recognizer(model.backbone, model.cls_head)
    num_parameters = sum(p.numel() for p in whole.parameters())
    costs = []
    for variant in variants:
        with model.backbone.using(variant):
            if model.backbone.pruner.at_input:
                raise ScheduleError(
                    f'what {variant.name} costs depends on the clips: tools/test.py reports the '
                    f'average over those it evaluates'
                )
            macs = count_macs(whole, (1, *clip_shape))
            num_tokens = model.backbone.num_tokens(clip_shape)
            left = model.backbone.tokens_after_stages(clip_shape)
        costs.append(Cost(num_tokens, tuple(left), macs / 1e9, num_parameters))
    return costs


class _Counter(TorchDispatchMode):
    """Adds up multiply-accumulates by torch's own formulas, attention and LayerNorm by ours.

    torch's FlopCounterMode finds the same numbers in twice the time: the meta device derives the
    shape of a LayerNorm and of a linear layer, most of a transformer, by Python code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        packet, kwargs = function._overloadpacket, kwargs or {}
        if packet is aten.native_layer_norm:
            self.macs += 5 * args[0].numel()
            mean = args[0].new_empty((*args[0].shape[: -len(args[1])], *(1 for _ in args[1])))
            return torch.empty_like(args[0]), mean, mean
        if packet is aten.addmm:
            _, left, right = args
            self.macs += left.numel() * right.shape[1]
            return left.new_empty((left.shape[0], right.shape[1]))
        if packet in ELEMENTWISE and not kwargs and _keeps_shape(*args):
            return torch.empty_like(args[0])
        out = function(*args, **kwargs)
        if packet in ATTENTION:
            self.macs += _attention_macs(*args[:3])
        elif packet in flop_registry:
            # torch counts a multiply-accumulate as two.
            self.macs += flop_registry[packet](*args, **kwargs, out_val=out) // 2
        return out


def _keeps_shape(tensor: Tensor, *others: Any) -> bool:
    """Whether an operation of these, element by element, gives what the first is like."""
    numbers = (int, float) if tensor.is_floating_point() else int
    return tensor.dtype != torch.bool and all(
        other.dtype == tensor.dtype and _broadcasts(other.shape, tensor.shape)
        if isinstance(other, Tensor)
        else isinstance(other, numbers)
        for other in others
    )


def _broadcasts(shape: Sequence[int], to: Sequence[int]) -> bool:
    last = to[len(to) - len(shape) :]
    return len(shape) <= len(to) and all(own in (1, n) for own, n in zip(shape, last, strict=True))


def _attention_macs(query: Tensor, key: Tensor, value: Tensor) -> int:
    return query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


class Solution(NamedTuple):
    """The schedule of one pruner that comes nearest to a budget from below.

    Attributes:
        schedule: what to drop, as the backbone takes it.
        gflops_per_view: its cost.
        budget_gflops: what it had to stay within.
    """

    schedule: Any
    gflops_per_view: float
    budget_gflops: float


def solve_budgets(
    model: PrunableRecognizer,
    pruner: Any,
    shares: Sequence[float],
    clip_shape: ClipShape,
) -> list[Solution]:
    """For each budget the schedule that costs the most without exceeding it.

    The cost falls with every step of the backbone's ladder, so a bisection finds the step.

    Args:
        model: with ``backbone`` and ``cls_head``; on the meta device or not.
        pruner: settings of the pruner.
        shares: budgets as shares of the unpruned model's GFLOPs, between 0 and 1.
        clip_shape: (3, frames, H, W) of one view.

    Returns:
        One solution for each budget, in their order.

    Raises:
        BudgetError: no share, or less than the most that can be dropped still costs.
        ScheduleError: the pruner does not work on this backbone.
    """
    for share in shares:
        if not 0.0 < share < 1.0:
            raise BudgetError(
                f'a budget is a share of the unpruned GFLOPs between 0 and 1, got {share:g}'
            )
    ladder = _fitting(model.backbone, pruner, clip_shape)
    known: dict[int, float] = {}

    def gflops(step: int) -> float:
        if step not in known:
            schedule = None if step < 0 else ladder[step]
            (cost,) = count_costs(model, [Variant('budget', pruner, schedule)], clip_shape)
            known[step] = cost.gflops_per_view
        return known[step]

    whole, least = gflops(-1), gflops(len(ladder) - 1)
    solutions = []
    for share in shares:
        if least > share * whole:
            raise BudgetError(
                f'budget {share:g} is {share * whole:.3g} of {whole:.4g} GFLOPs, but dropping all '
                f'that can go still costs {least:.4g}: at least {_rounded_up(least / whole):g}'
            )
        low, high = -1, len(ladder) - 1  # the answer is above low and at most high
        while high - low > 1:
            middle = (low + high) // 2
            if gflops(middle) <= share * whole:
                high = middle
            else:
                low = middle
        solutions.append(Solution(ladder[high], gflops(high), share * whole))
    return solutions


def _fitting(backbone: PrunableBackbone, pruner: Any, clip_shape: ClipShape) -> list[Any]:
    """The steps of the backbone's ladder that the pruner takes, from the least dropped on."""
    ladder, refusal = [], None
    for schedule in backbone.drop_ladder(clip_shape):
        try:
            with backbone.using(Variant('budget', pruner, schedule)):
                ladder.append(schedule)
        except ScheduleError as error:
            refusal = error
    if not ladder:
        raise refusal or BudgetError('this model is too small to drop anything')
    return ladder


def _rounded_up(share: float) -> float:
    """Two decimals, so that a budget of this share can be met."""
    return min((int(share * 100) + 1) / 100, 1.0)


class Threshold(NamedTuple):
    """The smallest threshold whose average cost stays within a budget.

    Attributes:
        value: of the mean absolute difference of tubelets.
        gflops_per_view: mean over the clips it was chosen on.
        budget_gflops: what that had to stay within.
    """

    value: float
    gflops_per_view: float
    budget_gflops: float


def solve_thresholds(
    gflops: Callable[[np.ndarray], np.ndarray],
    changes: np.ndarray,
    tokens_per_frame: int,
    shares: Sequence[float],
) -> list[Threshold]:
    """For each budget the smallest threshold that keeps the mean cost within it.

    Args:
        gflops: of clips that keep so and so many tokens.
        changes: (clips, M) of every tubelet after a clip's first, see tubelet_changes.
        tokens_per_frame: tokens of the first frame, which always stay.
        shares: budgets as shares of the unpruned GFLOPs, between 0 and 1.

    Returns:
        One for each budget, in their order.

    Raises:
        BudgetError: no share, or less than the first frame alone costs.
    """
    ordered = np.sort(changes, axis=1)
    candidates = np.unique(ordered)
    whole = float(gflops(np.array([tokens_per_frame + changes.shape[1]]))[0])
    least = float(gflops(np.array([tokens_per_frame]))[0])

    def cost(threshold: float) -> float:
        below = np.array([np.searchsorted(row, threshold, side='left') for row in ordered])
        return float(gflops(tokens_per_frame + changes.shape[1] - below).mean())

    found = []
    for share in shares:
        if not 0.0 < share < 1.0:
            raise BudgetError(
                f'a budget is a share of the unpruned GFLOPs between 0 and 1, got {share:g}'
            )
        if least > share * whole:
            raise BudgetError(
                f'budget {share:g} is {share * whole:.3g} of {whole:.4g} GFLOPs, but the first '
                f'frame of tokens, which always stays, costs {least:.4g}'
            )
        low, high = 0, len(candidates)  # the last one stands for a threshold above everything
        while low < high:
            middle = (low + high) // 2
            if cost(candidates[middle]) <= share * whole:
                high = middle
            else:
                low = middle + 1
        above_all = low == len(candidates)
        value = _typable(np.nextafter(candidates[-1], np.inf) if above_all else candidates[low])
        found.append(Threshold(value, cost(value), share * whole))
    return found


def _typable(value: float) -> float:
    """Four digits that can be typed; upwards, so that the cost stays within the budget."""
    if value <= 0:
        return float(value)
    near = float(f'{value:.4g}')
    if near >= value:
        return near
    return float(f'{near + 10.0 ** (math.floor(math.log10(value)) - 3):.4g}')


def gflops_of_tokens(
    model: PrunableRecognizer, clip_shape: ClipShape
) -> Callable[[np.ndarray], np.ndarray]:
    """GFLOPs per view of clips that keep so and so many tokens of their input.

    Attention costs the square of the tokens and everything else is proportional to them, so three
    counts determine the cost at every number.

    Args:
        model: with ``backbone`` (that takes pruners which drop at the input) and ``cls_head``.
        clip_shape: (3, frames, H, W) of one view.
    """
    whole = Recognizer(model.backbone, model.cls_head)
    num_tokens = model.backbone.num_tokens(clip_shape)
    counts = np.unique([1, (num_tokens + 1) // 2, num_tokens])
    macs = []
    for count in counts:
        first = _FirstTokens(int(count))
        model.backbone.check_pruner(first)
        with model.backbone.using(BoundVariant('count', PruningSchedule(), first)):
            macs.append(count_macs(whole, (1, *clip_shape)))
    return Polynomial.fit(counts, np.array(macs) / 1e9, deg=len(counts) - 1)


class _FirstTokens(Pruner, name=None):
    """A pruner that keeps a given number of tokens, for counting: shapes are all that matters."""

    at_input = True

    def __init__(self, num_tokens: int) -> None:
        self.num_tokens = num_tokens

    def kept_at_input(self, clip: Tensor, grid: tuple[int, int, int]) -> list[Tensor]:
        return [torch.arange(self.num_tokens, device=clip.device) for _ in clip]
