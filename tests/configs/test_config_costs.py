"""What the schedules of every config cost: the closed form, and the measured figures."""

from __future__ import annotations

from typing import Any

import pytest

from sta.analysis import count_costs
from sta.pruning import Variant
from tests.analysis.closed_form import MEASURED, ViT
from tests.configs.shipped import SIZES, VIT_CONFIGS, config_of, model_of, variants_of


def closed_form(backbone: Any, classes: int) -> ViT:
    """The sizes as written in the config."""
    side = backbone.img_size // backbone.patch_size
    return ViT(
        width=backbone.embed_dims,
        depth=backbone.depth,
        heads=backbone.num_heads,
        classes=classes,
        frames_tokens=backbone.num_frames // backbone.tubelet_size,
        tokens_per_frame=side * side,
        patch_volume=3 * backbone.tubelet_size * backbone.patch_size**2,
    )


@pytest.mark.parametrize('name', VIT_CONFIGS)
def test_the_cost_of_every_schedule(name) -> None:
    config, model = config_of(name), model_of(name)
    vit = closed_form(config.model.backbone, config.model.cls_head.num_classes)
    variants = variants_of(config)
    variants = variants if model.backbone.depth <= 12 else [variants[0], variants[-1]]
    costs = count_costs(model, variants, model.backbone.clip_shape)
    for variant, cost in zip(variants, costs):
        stages = vit.stages(variant.schedule) if variant.schedule else []
        expected = vit.total(stages) + sum(vit.sta(stages))
        assert cost.gflops_per_view == pytest.approx(expected / 1e9, rel=1e-3), variant.name
        assert cost.num_tokens == vit.num_tokens
        left = vit.num_tokens - sum(stage.num_chunks * stage.num_drop for stage in stages)
        assert cost.tokens_kept == left
        measured = MEASURED[SIZES[size_of(name)]] if name.endswith('_k400') else {}
        if variant.schedule in measured:
            assert cost.gflops_per_view == pytest.approx(measured[variant.schedule], rel=1e-3)


def size_of(name: str) -> str:
    """'_s' of 'sta_vit_s_k400', '' of 'sta_vit_k400' and 'train_sta_vit_k400'."""
    return name.removeprefix('train_').removeprefix('sta_vit').removesuffix('_k400')


def test_the_cost_of_sta_64_is_the_papers() -> None:
    """From the config to the number, for the command the README shows."""
    model = model_of('sta_vit_k400')
    (cost,) = count_costs(model, [Variant('sta-64', None, 64)], model.backbone.clip_shape)
    assert cost.gflops_per_view == pytest.approx(96.53, abs=0.01)
    assert cost.tokens_after_stages == (1056, 800, 672)
    assert cost.num_parameters / 1e6 == pytest.approx(86.53, abs=0.01)
