"""Data, views and schedules of every config: they exist, and fit the model and the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mmaction import registry
from mmengine.config import Config
from mmengine.registry import Registry

from sta.engine.session import views_per_video
from tests.configs.shipped import CLASSES, CONFIGS, PUBLISHED, config_of, leaves, model_of

VIEWS = {'k400': 15, 'ssv2': 6}


def flat(pipeline: list[Any]) -> list[Any]:
    """Every transform, those that are repeated among them."""
    return [inner for step in pipeline for inner in (step, *flat(step.get('transforms', [])))]


@pytest.mark.parametrize('name', CONFIGS)
def test_the_views_are_what_the_model_takes(name) -> None:
    config, backbone = config_of(name), model_of(name).backbone
    for loader in ('test_dataloader', 'train_dataloader'):
        pipeline = flat(config.get(loader, {}).get('dataset', {}).get('pipeline', []))
        steps = {step.type: step for step in pipeline}
        for step in pipeline:
            frames = step.get('clip_len', 16 if step.type == 'ProtocolSampleFrames' else None)
            assert frames in (None, backbone.num_frames), step
            size = step.get('size', step.get('crop_size', step.get('scale', [None])[0]))
            assert size in (None, backbone.img_size), step
        assert steps == {} or steps['FormatShape'].input_format == 'NCTHW'


@pytest.mark.parametrize('name', CONFIGS)
def test_every_transform_builds(name) -> None:
    config = config_of(name)
    for loader in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        for step in config.get(loader, {}).get('dataset', {}).get('pipeline', []):
            assert registry.TRANSFORMS.build(step.to_dict()) is not None


PLACES = {
    'test_dataloader.dataset': registry.DATASETS,
    'val_dataloader.dataset': registry.DATASETS,
    'train_dataloader.dataset': registry.DATASETS,
    'test_dataloader.sampler': registry.DATA_SAMPLERS,
    'val_dataloader.sampler': registry.DATA_SAMPLERS,
    'train_dataloader.sampler': registry.DATA_SAMPLERS,
    'test_cfg': registry.LOOPS,
    'val_cfg': registry.LOOPS,
    'train_cfg': registry.LOOPS,
    'val_evaluator': registry.METRICS,
    'optim_wrapper': registry.OPTIM_WRAPPERS,
    'optim_wrapper.optimizer': registry.OPTIMIZERS,
    'log_processor': registry.LOG_PROCESSORS,
}


def named_types(config: Config) -> Iterator[tuple[str, Registry, str]]:
    """(place, registry that must know it, name)."""
    flat = dict(leaves(config.to_dict()))
    for place, kind in PLACES.items():
        name = flat.get((*place.split('.'), 'type'))
        if name is not None:
            yield place, kind, name
    for keys, value in flat.items():
        if keys[-1] == 'type' and keys[0] in ('default_hooks', 'custom_hooks'):
            yield '.'.join(map(str, keys)), registry.HOOKS, value
        if keys[-1] == 'type' and keys[0] == 'param_scheduler':
            yield '.'.join(map(str, keys)), registry.PARAM_SCHEDULERS, value


@pytest.mark.parametrize('name', CONFIGS)
def test_every_type_is_registered(name) -> None:
    found = list(named_types(config_of(name)))
    assert {'test_cfg', 'test_dataloader.dataset'} <= {place for place, _, _ in found}
    unknown = [(place, kind) for place, where, kind in found if where.get(kind) is None]
    assert unknown == []


@pytest.mark.parametrize('name', CONFIGS)
def test_the_data_loader_runs_the_pipeline_of_the_config(name) -> None:
    """A child's test_pipeline alone would not reach the loader."""
    config = config_of(name)
    for part in ('test', 'train'):
        if f'{part}_pipeline' in config:
            pipeline = config[f'{part}_dataloader'].dataset.pipeline
            assert pipeline == config[f'{part}_pipeline']
    assert config.test_dataloader.dataset.test_mode is True
    assert config.test_dataloader.sampler.shuffle is False


@pytest.mark.parametrize('name', CONFIGS)
def test_data_and_head_agree_on_the_classes(name) -> None:
    config = config_of(name)
    loaders = ('test_dataloader', 'val_dataloader', 'train_dataloader')
    counts = [config[loader].dataset.num_classes for loader in loaders if loader in config]
    assert set(counts) == {config.model.cls_head.num_classes}
    assert model_of(name).cls_head.fc_cls.out_features == counts[0]


@pytest.mark.parametrize('size, data', PUBLISHED)
def test_classes_views_and_protocol(size, data) -> None:
    name = f'sta_vit{size}_{data}'
    config = config_of(name)
    assert config.model.cls_head.num_classes == CLASSES[data]
    assert views_per_video(config) == VIEWS[data]
    steps = {step.type: step for step in config.test_dataloader.dataset.pipeline}
    assert steps['ProtocolSampleFrames'].protocol == f'videomae_{data}'
    assert steps['ProtocolSampleFrames'].num_clips * 3 == VIEWS[data]
    assert steps['ShortSideCrops'] == {'type': 'ShortSideCrops', 'size': 224, 'num_crops': 3}
    folder = {'k400': 'data/kinetics400/', 'ssv2': 'data/sthv2/'}[data]
    assert config.test_dataloader.dataset.ann_file.startswith(folder)
    assert config.test_dataloader.dataset.data_prefix.video.startswith(folder)


@pytest.mark.parametrize('data, num_clips', [('k400', 4), ('ssv2', 1)])
def test_views_and_protocol_of_videoswin(data, num_clips) -> None:
    config = config_of(f'sta_swin_{data}')
    assert config.model.cls_head.num_classes == CLASSES[data]
    assert views_per_video(config) == 3 * num_clips
    steps = {step.type: step for step in config.test_dataloader.dataset.pipeline}
    sampler = steps['ProtocolSampleFrames']
    assert (sampler.protocol, sampler.num_clips, sampler.clip_len) == (
        f'videoswin_{data}',
        num_clips,
        32,
    )
    assert list(config.model.backbone.window_size) == [8 if data == 'k400' else 16, 7, 7]


@pytest.mark.parametrize('name', CONFIGS)
def test_pixels_are_normalised_as_those_of_imagenet(name) -> None:
    settings = config_of(name).model.data_preprocessor
    mean = [255 * share for share in (0.485, 0.456, 0.406)]
    std = [255 * share for share in (0.229, 0.224, 0.225)]
    assert settings.mean == pytest.approx(mean) and settings.std == pytest.approx(std)
    assert not settings.get('to_rgb', False)  # decord gives RGB already


def test_learning_rates_cover_all_epochs_without_a_gap() -> None:
    config, last = config_of('train_sta_vit_motions'), 0
    assert len(config.param_scheduler) == 2
    for step in config.param_scheduler:
        assert step.by_epoch and step.get('begin', 0) == last
        length = step.end - last
        assert step.get('T_max', length) == length
        last = step.end
    assert last == config.train_cfg.max_epochs
    assert config.train_cfg.max_epochs % config.train_cfg.val_interval == 0
