"""What is refused says so in one line, with the way out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sta
from sta.errors import PrunerError, ScheduleError
from tests.checkpoints.hf_models import hf_model
from tests.hosts.pairs import Pair, huggingface, mmaction_swin, mmaction_vit, recognizer, timm_model
from tests.models import small_swin
from tests.models.small_vit import SMALL, clips, small_vit

pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')


def refusal(model, error=sta.HostModelError, **settings) -> str:
    with pytest.raises(error) as caught:
        sta.apply(model, **{'schedule': 2, **settings})
    message = str(caught.value)
    assert '\n' not in message
    return message


def test_models_that_are_not_supported() -> None:
    assert refusal('model.pt') == 'a model is a torch.nn.Module, got str'
    message = refusal(nn.Sequential(nn.Linear(2, 2)))
    assert message.startswith('torch.Sequential cannot be pruned; supported are ')
    for name in ('transformers.VideoMAEForVideoClassification', 'mmaction.VisionTransformer'):
        assert name in message
    for function in (sta.remove, sta.kept):
        with pytest.raises(sta.HostModelError, match='cannot be pruned'):
            function(nn.Linear(2, 2))


def test_our_own_backbones() -> None:
    for model in (
        small_vit(),
        recognizer({'type': 'STAVisionTransformer', **SMALL}, 'I3DHead', 24),
    ):
        assert refusal(model).startswith('STAVisionTransformer prunes by itself: use backbone.set_')


def test_two_models_in_one() -> None:
    pair = nn.ModuleList([mmaction_vit().host, mmaction_swin().host])
    assert refusal(pair) == 'ModuleList holds 2 models that can be pruned: give one of them'


def test_models_of_transformers() -> None:
    pytest.importorskip('transformers')
    message = refusal(hf_model(use_mean_pooling=False))
    assert 'reads its first token alone' in message and 'use_mean_pooling=True' in message
    message = refusal(hf_model('VideoMAEModel'))
    assert 'transformers.VideoMAEModel cannot be pruned (VideoMAEModel: it hands out' in message


def test_models_of_mmaction2() -> None:
    for changed in ({'use_mean_pooling': False}, {'return_feat_map': True}):
        host = recognizer({'type': 'VisionTransformer', **SMALL, **changed}, 'I3DHead', 24)
        assert 'needs use_mean_pooling=True and return_feat_map=False' in refusal(host)
    settings = {'type': 'SwinTransformer3D', 'pretrained2d': False, **small_swin.SMALL}
    host = recognizer({**settings, 'out_indices': (2, 3)}, 'I3DHead', 96)
    assert 'the last stage alone' in refusal(host, ScheduleError, schedule=[8, 2, 1])


@pytest.mark.parametrize(
    ('changed', 'reason'),
    [
        ({'class_token': True}, 'class_token=True'),
        ({'class_token': True, 'global_pool': 'token'}, "class_token=True, global_pool='token'"),
        ({'reg_tokens': 1}, 'reg_tokens'),
        ({'global_pool': 'max'}, "global_pool='max'"),
        ({'qk_norm': True}, 'qk_norm=True'),
        ({'patch_drop_rate': 0.5}, 'patch_drop_rate'),
    ],
)
def test_models_of_timm(changed, reason) -> None:
    message = refusal(timm_model(**changed), num_frames=8)
    assert message.startswith(f'this VisionTransformer of timm has {reason}: over frames sta')


def test_timm_needs_the_number_of_frames() -> None:
    for wrong in (None, 0, True, 2.0):
        message = refusal(timm_model(), num_frames=wrong)
        assert message.endswith(f'(a whole number of at least 1), got {wrong}')
    model = sta.apply(timm_model(), schedule=2, num_frames=8)
    with pytest.raises(sta.HostModelError, match='12 images are no whole number of clips'):
        model(torch.zeros(12, 3, 32, 32))
    assert 'num_frames is for models of images' in refusal(mmaction_vit().host, num_frames=8)


@pytest.mark.parametrize(
    ('pruner', 'words'),
    [
        ({'type': 'ToMeMergePruner'}, 'merges tokens'),
        ({'type': 'SaliencyMergePruner'}, 'merges tokens'),
        ({'type': 'RunLengthPruner'}, 'drops at the input'),
    ],
)
def test_pruners_that_need_more_of_a_model(pair, pruner, words) -> None:
    message = refusal(pair.host, pruner=pruner, **pair.settings)
    assert message.startswith(f'{pruner["type"]} {words}') and 'STAVisionTransformer' in message


def test_pruners_that_do_not_exist(pair) -> None:
    wrong = refusal(pair.host, PrunerError, pruner={'type': 'STA'}, **pair.settings)
    assert wrong.startswith("unknown pruner type 'STA'; known are [")
    wrong = refusal(pair.host, PrunerError, pruner='STAPruner', **pair.settings)
    assert wrong.endswith("got 'STAPruner'")


def test_impossible_schedules(pair) -> None:
    for schedule in (10**6, -1, 'much', [1, 2, 3, 4, 5, 6, 7], [{'after_block': 99}]):
        refusal(pair.host, ScheduleError, schedule=schedule, **pair.settings)
    message = refusal(
        pair.host,
        ScheduleError,
        schedule=[3, 0, 0],
        pruner={'type': 'STAPruner', 'first_frame': 'grid'},
        **pair.settings,
    )
    assert message.startswith('pruning stage 1 (after block ')


def test_gradient_checkpointing_in_training() -> None:
    pair = huggingface()
    pair.host.gradient_checkpointing_enable()
    pair.host.train()
    assert 'gradient checkpointing' in refusal(pair.host)
    sta.apply(pair.host.eval(), schedule=2)
    expected, _ = pair.pruned_by_ours(2)
    torch.testing.assert_close(pair.run(), expected, atol=1e-5, rtol=0)
    pair.host.train()
    with pytest.raises(sta.HostModelError, match='gradient checkpointing'):
        pair.run()


def test_gradient_checkpointing_of_swin_and_timm_in_training() -> None:
    settings = {'type': 'SwinTransformer3D', 'pretrained2d': False, **small_swin.SMALL}
    swin = recognizer({**settings, 'with_cp': True}, 'I3DHead', 96)
    swin.train()
    assert 'with_cp=False' in refusal(swin, schedule=small_swin.DROPS)
    timm = timm_model()
    timm.set_grad_checkpointing()
    assert 'gradient checkpointing' in refusal(timm.train(), num_frames=8)


def test_masked_tokens_are_no_grid() -> None:
    pair = huggingface()
    sta.apply(pair.host, schedule=2)
    mask = torch.zeros(2, 128, dtype=torch.bool)
    mask[:, :8] = True
    with pytest.raises(sta.HostModelError, match='expected 128 tokens in each of 2 clips'):
        pair.host(pair.given.transpose(1, 2), bool_masked_pos=mask)
    torch.testing.assert_close(pair.run(), pair.pruned_by_ours(2)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize('make', [huggingface, mmaction_vit])
def test_adapters(make) -> None:
    class Adapter(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.layer, self.weight, self.bias = layer, layer.weight, layer.bias

    pair: Pair = make()
    for module in list(pair.host.modules()):
        for name in ('key', 'qkv'):
            if isinstance(getattr(module, name, None), nn.Linear):
                setattr(module, name, Adapter(getattr(module, name)))
    assert 'is a Adapter, not a plain torch.nn.Linear: merge adapters' in refusal(pair.host)


def test_another_version_of_a_library() -> None:
    pair = huggingface()
    layer = pair.host.videomae.encoder.layer[2]
    layer.norm = layer.layernorm_before
    del layer.layernorm_before
    message = refusal(pair.host)
    assert message.startswith("VideoMAELayer of transformers has no 'layernorm_before' here")
    swin = mmaction_swin().host
    swin.backbone.extra = nn.Linear(2, 2)
    assert '2 weights of this SwinTransformer3D are not those of mmaction2' in refusal(swin)


def test_a_forward_that_somebody_else_replaced() -> None:
    swin = mmaction_swin().host
    swin.backbone.forward = lambda x: x
    assert 'was replaced by something else' in refusal(swin, schedule=small_swin.DROPS)
    assert torch.equal(swin.backbone(clips(1)), clips(1))
