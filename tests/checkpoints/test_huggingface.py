"""Models of transformers, saved as people save them, give the same logits here."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from sta.checkpoints import load_checkpoint
from tests.checkpoints.hf_models import hf_logits, hf_model, older_names, with_eps
from tests.checkpoints.sources import logits, recognizer, refusal, weights_of

pytest.importorskip('transformers')
SOURCE = 'VideoMAE (Hugging Face)'
QUERY = 'videomae.encoder.layer.1.attention.attention.query'
KEY = 'videomae.encoder.layer.1.attention.attention.key'


def loaded_logits(source, expected: torch.Tensor, **backbone) -> torch.Tensor:
    """Of a model of other weights before, whose logits differed."""
    model = recognizer(seed=1, **backbone)
    assert (logits(model) - expected).abs().max() > 0.1
    report = load_checkpoint(model, source)
    assert report.source == SOURCE and report.unused == ()
    return logits(model)


@pytest.mark.parametrize('names', ['newer', 'older'])
@pytest.mark.parametrize('qkv_bias', [True, False])
@pytest.mark.parametrize('use_mean_pooling', [True, False])
def test_the_logits_of_transformers(use_mean_pooling, qkv_bias, names, tmp_path) -> None:
    """With the epsilon of VideoMAE's authors in both, so that nothing but rounding differs."""
    settings = {'use_mean_pooling': use_mean_pooling, 'qkv_bias': qkv_bias}
    model = with_eps(hf_model(**settings), 1e-6)
    weights = weights_of(model)
    assert any(name.endswith('query.bias') for name in weights) is qkv_bias
    weights = older_names(weights) if names == 'older' else weights
    assert any(name.endswith('q_bias') for name in weights) is (qkv_bias and names == 'older')
    save_file(weights, tmp_path / 'model.safetensors')
    expected = hf_logits(model)
    found = loaded_logits(tmp_path / 'model.safetensors', expected, **settings)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_epsilon_of_transformers_makes_next_to_no_difference(tmp_path) -> None:
    """1e-12 in its blocks, 1e-5 in its last norm; the authors and this project have 1e-6."""
    model = hf_model()
    assert model.fc_norm.eps == 1e-5
    assert model.videomae.encoder.layer[0].layernorm_before.eps == 1e-12
    model.save_pretrained(tmp_path)
    expected = hf_logits(model)
    difference = (loaded_logits(tmp_path, expected) - expected).abs().max()
    assert difference < 1e-4
    assert (hf_logits(with_eps(model, 1e-2)) - expected).abs().max() > 1e-3


@pytest.mark.parametrize('form', ['folder', 'bin', 'bin folder', 'shards', 'sharded folder'])
def test_the_forms_transformers_saves(form, tmp_path) -> None:
    model = with_eps(hf_model(), 1e-6)
    source = tmp_path
    if 'bin' in form:
        torch.save(model.state_dict(), tmp_path / 'pytorch_model.bin')
        source = tmp_path if 'folder' in form else tmp_path / 'pytorch_model.bin'
    elif 'shard' in form:
        model.save_pretrained(tmp_path, max_shard_size='20KB')
        assert len(list(tmp_path.glob('model-0*.safetensors'))) > 2
        source = tmp_path if 'folder' in form else tmp_path / 'model.safetensors.index.json'
    else:
        model.save_pretrained(tmp_path)
    expected = hf_logits(model)
    torch.testing.assert_close(loaded_logits(source, expected), expected, atol=1e-5, rtol=0)


def test_every_weight_of_the_source_arrives(tmp_path) -> None:
    """Above all the biases, which transformers 5 itself once left at zero in silence."""
    given = weights_of(hf_model())
    model = recognizer(seed=1)
    report = load_checkpoint(model, given)
    assert report.num_loaded == len(given) - 2 * 2  # three matrices of each block became one
    assert report.num_parameters == sum(tensor.numel() for tensor in given.values())
    attention = model.backbone.blocks[1].attn
    assert torch.equal(attention.q_bias, given[f'{QUERY}.bias'])
    assert torch.equal(attention.v_bias, given[QUERY.replace('query', 'value') + '.bias'])
    for i, part in enumerate(('query', 'key', 'value')):
        rows = attention.qkv.weight[24 * i : 24 * (i + 1)]
        assert torch.equal(rows, given[QUERY.replace('query', part) + '.weight']), part


@pytest.mark.parametrize('front', ['model.', 'module.model._orig_mod.', 'base_model.model.'])
def test_below_a_prefix(front) -> None:
    model = with_eps(hf_model(), 1e-6)
    weights = {
        front + name.replace('.layer.1.', '.layer.1._checkpoint_wrapped_module.'): tensor
        for name, tensor in weights_of(model).items()
    }
    expected = hf_logits(model)
    torch.testing.assert_close(loaded_logits(weights, expected), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('part', ['query', 'key', 'value'])
def test_a_missing_projection_is_named(part) -> None:
    weights = weights_of(hf_model())
    del weights[QUERY.replace('query', part) + '.weight']
    assert (f'backbone.blocks.1.attn.qkv.weight cannot be put together, {part} missing') in refusal(
        weights
    )


@pytest.mark.parametrize(
    'wrong',
    [
        torch.zeros(24, 12),
        torch.zeros(24, 24, dtype=torch.float64),
        torch.zeros(24, 24).to_sparse(),
        torch.ones(()),
    ],
    ids=['shape', 'dtype', 'sparse', 'no matrix'],
)
def test_projections_unlike_each_other_are_refused(wrong) -> None:
    message = refusal({**weights_of(hf_model()), f'{KEY}.weight': wrong})
    assert f'key {tuple(wrong.shape)} {str(wrong.dtype)[6:]}' in message


def test_biases_that_lack_or_have_two_names_are_refused() -> None:
    weights = weights_of(hf_model())
    twice = {**weights, QUERY.replace('query', 'q_bias'): torch.zeros(24)}
    assert 'two tensors are both called backbone.blocks.1.attn.q_bias' in refusal(twice)
    del weights[f'{QUERY}.bias']
    assert '(1 missing: backbone.blocks.1.attn.q_bias)' in refusal(weights)


@pytest.mark.parametrize('name', [f'{KEY}.bias', KEY.replace('key', 'k_bias')])
def test_a_key_bias_of_zero_is_left_out_and_told(name) -> None:
    weights = {**weights_of(hf_model()), name: torch.zeros(24)}
    model, without = recognizer(seed=1), recognizer(seed=3)
    report = load_checkpoint(model, weights)
    load_checkpoint(without, weights_of(hf_model()))
    assert torch.equal(logits(model), logits(without))
    assert report.unused == ('backbone.blocks.1.attn.k_bias',)
    assert str(report).endswith('; not used: backbone.blocks.1.attn.k_bias')


@pytest.mark.parametrize('value', [1e-30, float('nan')])
def test_a_key_bias_that_says_something_is_refused(value) -> None:
    bias = torch.zeros(24)
    bias[7] = value
    message = refusal({**weights_of(hf_model()), f'{KEY}.bias': bias})
    assert 'backbone.blocks.1.attn.k_bias is not zero' in message


def test_pre_training_checkpoints_are_told() -> None:
    decoder = {
        f'decoder_{name}': value
        for name, value in {
            'hidden_size': 12,
            'num_hidden_layers': 1,
            'num_attention_heads': 3,
            'intermediate_size': 24,
        }.items()
    }
    message = refusal(weights_of(hf_model('VideoMAEForPreTraining', **decoder)))
    assert message.endswith(
        '. It is a pre-training checkpoint with a decoder: use the fine-tuned one, or train from '
        'it with pretrained=FILE in the config'
    )
    message = refusal(weights_of(hf_model('VideoMAEModel')))
    assert '2 blocks of width 24 but no classifier, as pre-trained encoders' in message


def test_models_of_other_settings_say_how_to_evaluate_them() -> None:
    message = refusal(weights_of(hf_model(use_mean_pooling=False)))
    assert message.endswith('set model.backbone.use_mean_pooling=False and evaluate it unpruned')
    message = refusal(weights_of(hf_model(qkv_bias=False)))
    assert '4 missing: backbone.blocks.0.attn.q_bias' in message
    assert message.endswith('set model.backbone.qkv_bias=False')


def test_a_vit_s_of_transformers_fits_the_config(tmp_path) -> None:
    """Shapes of the real size, and the config's own model."""
    from sta.engine.config import load_config
    from sta.engine.session import build_model
    from tests.tools.tiny import ROOT

    size = {'hidden_size': 384, 'num_attention_heads': 6, 'intermediate_size': 1536}
    size |= {'image_size': 224, 'patch_size': 16, 'num_frames': 16, 'num_hidden_layers': 12}
    model = hf_model(**size, num_labels=400)
    weights = {name: tensor.half() for name, tensor in weights_of(model).items()}
    save_file(weights, tmp_path / 'model.safetensors')
    ours = build_model(load_config(str(ROOT / 'configs' / 'sta_vit_s_k400.py')))
    report = load_checkpoint(ours, tmp_path)
    assert report.num_loaded == len(weights) - 2 * 12 and report.cast == 'float16 -> float32'
    rows = ours.backbone.blocks[11].attn.qkv.weight[384:768]
    name = 'videomae.encoder.layer.11.attention.attention.key.weight'
    assert torch.equal(rows, weights[name].float())
