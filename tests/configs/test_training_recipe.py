"""The fine-tuning config is the recipe of supplementary Table 1, number for number."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from sta.paper import read_published
from tests.configs.shipped import config_of, model_of
from tests.configs.test_config_parts import flat

FULL, SMALL = 'train_sta_vit_k400', 'train_sta_vit_motions_finetune'
BOTH = pytest.mark.parametrize('name', [FULL, SMALL])


@pytest.fixture(scope='module')
def recipe() -> dict[str, Any]:
    return read_published()['supp_table1_training']['recipe']


def steps_of(config: Config) -> dict[str, Any]:
    return {step.type: step for step in flat(config.train_dataloader.dataset.pipeline)}


def test_clips(recipe) -> None:
    steps = steps_of(config_of(FULL))
    assert steps['SampleFrames'].clip_len == recipe['frames']
    assert steps['SampleFrames'].frame_interval == recipe['stride']
    assert tuple(steps['Resize'].scale) == (recipe['size'], recipe['size'])
    assert steps['Resize'].keep_ratio is False
    assert steps['Flip'].flip_ratio == recipe['flip']


@BOTH
def test_augmentation(recipe, name) -> None:
    config, classes = config_of(name), config_of(name).model.cls_head.num_classes
    steps = steps_of(config)
    augment = steps['ClipRandAugment']
    assert f'm{augment.magnitude}, p {augment.prob}' == recipe['rand_augment']
    assert (steps['RepeatedAugmentation'].num_repeats > 1) is recipe['repeated_augmentation']
    assert config.train_dataloader.collate_fn.type == 'repeat_pseudo_collate'
    blending = config.model.data_preprocessor.blending
    assert blending.type == 'RandomBatchAugment' and 'probs' not in blending  # always one of two
    assert {augment.type: augment.alpha for augment in blending.augments} == {
        'MixupBlending': recipe['mixup'],
        'CutmixBlending': recipe['cutmix'],
    }
    assert {augment.num_classes for augment in blending.augments} == {classes}
    assert config.model.cls_head.label_smooth_eps == recipe['label_smoothing']


def test_optimizer(recipe) -> None:
    config = config_of(FULL)
    optimizer = config.optim_wrapper.optimizer
    assert optimizer.type == recipe['optimizer'] and optimizer.lr == recipe['base_lr']
    assert optimizer.weight_decay == recipe['weight_decay']
    assert config.auto_scale_lr.enable
    assert recipe['lr_scaling'].endswith(f'/ {config.auto_scale_lr.base_batch_size}')
    assert recipe['total_batch'] == 32 * config.train_dataloader.batch_size  # 4 nodes x 8 GPUs


@BOTH
def test_learning_rates_cover_all_epochs_without_a_gap(recipe, name) -> None:
    config = config_of(name)
    warm_up, cosine = config.param_scheduler
    assert (warm_up.type, cosine.type) == ('LinearLR', 'CosineAnnealingLR')
    assert warm_up.end == cosine.begin and cosine.end == config.train_cfg.max_epochs
    assert cosine.T_max == cosine.end - cosine.begin
    if name == FULL:
        assert (warm_up.end, cosine.end) == (recipe['warmup_epochs'], recipe['epochs'])


def depth_of(name: str, depth: int) -> int:
    """0 for the embedding, 1 for the first block, ..., depth + 1 for what stands behind them."""
    if name.startswith('backbone.patch_embed.'):
        return 0
    block = re.match(r'backbone\.blocks\.(\d+)\.', name)
    return int(block[1]) + 1 if block else depth + 1


@BOTH
def test_lower_layers_learn_more_slowly(recipe, name) -> None:
    """Each layer at 0.75 times the rate of the one above it; no decay of biases and norms."""
    config, model = config_of(name), model_of(name)
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    names = {id(parameter): n for n, parameter in model.named_parameters()}
    depth, base, seen = model.backbone.depth, config.optim_wrapper.optimizer.lr, set()
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            seen.add(names[id(parameter)])
            above = depth + 1 - depth_of(names[id(parameter)], depth)
            assert group['lr'] == pytest.approx(base * 0.75**above)
            decays = parameter.dim() > 1
            assert group['weight_decay'] == (recipe['weight_decay'] if decays else 0)
    assert seen == set(names.values())


@BOTH
def test_pruning_is_part_of_it(name) -> None:
    backbone = config_of(name).model.backbone
    assert backbone.schedule == (48 if name == FULL else 16)
