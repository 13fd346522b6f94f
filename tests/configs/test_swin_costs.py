"""What VideoSwin costs: the paper's Table 3, and a closed form, counted on the model that runs."""

from __future__ import annotations

import pytest

from sta.analysis import count_costs
from sta.pruning import Variant
from tests.configs.shipped import SWIN_CONFIGS, config_of, model_of, variants_of

R1 = (0, 192, 256, 320)
# GFLOPs per view at r1, as printed in the paper.
TABLE3 = {
    'sta_swin_t_k400': (88, 68, 61, 54),
    'sta_swin_s_k400': (166, 121, 106, 91),
    'sta_swin_k400': (282, 202, 176, 149),
    'sta_swin_ssv2': (321, 241, 215, 188),
}
DEPTHS = {'tiny': (2, 2, 6, 2), 'small': (2, 2, 18, 2), 'base': (2, 2, 18, 2)}
WIDTHS = {'tiny': 96, 'small': 96, 'base': 128}
HEAD_WIDTH = 32


def closed_form(arch: str, window: tuple[int, int, int], classes: int, r1: int) -> int:
    """Multiply-accumulates of a clip of 32 x 224 x 224, attention over filled windows."""
    width, frames, side = WIDTHS[arch], 16, 56
    macs = frames * side**2 * (3 * 2 * 4 * 4 * width + 5 * width)
    drops = [0, r1, r1 * 3 // 8, r1 // 8]
    kept = 0
    for i, depth in enumerate(DEPTHS[arch]):
        full, kept = frames * side**2, frames * (side**2 - drops[i])
        in_window = min(window[0], frames) * min(window[1], side) * min(window[2], side)
        linear = kept * 12 * width**2
        attention = full * in_window * 2 * width
        macs += depth * (linear + attention + kept * 2 * 5 * width)
        if i < 3:
            side, width = side // 2, 2 * width
            merged = frames * side**2
            macs += merged * (5 * 2 * width + 2 * width * width)
            macs += pruning(frames, side**2, drops[i + 1])
    return macs + kept * 5 * width + width * classes


def pruning(frames: int, tokens: int, drop: int) -> int:
    """Similarities of the first frame's image pruner, in rounds, and of the frames after it."""
    if not drop:
        return 0
    macs, left, members = 0, drop, tokens
    while left > 0:
        even = (members + 1) // 2
        macs += even * (members - even) * HEAD_WIDTH
        left, members = left - even, members - even
    return macs + sum(
        tokens * (tokens if t == 1 else tokens - drop) * HEAD_WIDTH for t in range(1, frames)
    )


@pytest.mark.parametrize('name', TABLE3)
def test_the_papers_table_3(name) -> None:
    model = model_of(name)
    variants = [Variant(str(r1), dict(type='STAPruner'), r1) for r1 in R1]
    costs = count_costs(model, variants, model.backbone.clip_shape)
    config = config_of(name).model
    for r1, cost, published in zip(R1, costs, TABLE3[name], strict=True):
        assert cost.gflops_per_view == pytest.approx(published, abs=0.5)
        expected = closed_form(
            config.backbone.arch, config.backbone.window_size, config.cls_head.num_classes, r1
        )
        assert cost.gflops_per_view == pytest.approx(expected / 1e9, rel=1e-3)


def test_fused_attention_costs_the_same() -> None:
    model = model_of('sta_swin_t_k400')
    (plain,) = count_costs(model, [Variant('none')], model.backbone.clip_shape)
    model.backbone.fused_attention = True
    try:
        (fused,) = count_costs(model, [Variant('none')], model.backbone.clip_shape)
    finally:
        model.backbone.fused_attention = None
    assert fused.gflops_per_view == pytest.approx(plain.gflops_per_view, rel=1e-6)


@pytest.mark.parametrize('name', [name for name in SWIN_CONFIGS if name.startswith('sta_')])
def test_tokens_of_every_variant(name) -> None:
    config, model = config_of(name), model_of(name)
    frames, side = (16, 7) if config.model.backbone.get('num_frames') == 32 else (8, 3)
    for variant in variants_of(config):
        with model.backbone.using(variant):
            shape = model.backbone.clip_shape
            assert model.backbone.num_tokens(shape) == frames * side**2
            left = model.backbone.tokens_after_stages(shape)
            assert sorted(left, reverse=True) == left
