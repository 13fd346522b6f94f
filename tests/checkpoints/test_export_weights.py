"""Exported weights come back: same logits, nothing else in the file."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from sta.checkpoints import export_weights, load_checkpoint
from tests.checkpoints.sources import logits, recognizer


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_round_trip(dtype, tmp_path) -> None:
    saved, model = recognizer(seed=2), recognizer(seed=1)
    path = tmp_path / 'new' / 'weights.safetensors'
    export_weights(saved, path, dtype)
    report = load_checkpoint(model, path)
    for (name, found), (_, kept) in zip(model.named_parameters(), saved.named_parameters()):
        assert torch.equal(found, kept.to(dtype).float()), name
    if dtype is torch.float32:
        torch.testing.assert_close(logits(model), logits(saved), atol=1e-6, rtol=0)
    else:
        rounding = torch.finfo(dtype).eps
        assert (logits(model) - logits(saved)).abs().max() < 30 * rounding
        assert report.cast == f'{str(dtype)[6:]} -> float32'


def test_half_precision_is_the_default_and_tables_are_left_out(tmp_path) -> None:
    saved = recognizer(seed=2)
    line = export_weights(saved, str(tmp_path / 'w.safetensors'))
    tensors = load_file(tmp_path / 'w.safetensors')
    assert set(tensors) == {name for name, _ in saved.named_parameters()}
    assert 'backbone.pos_embed' not in tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    size_mb = (tmp_path / 'w.safetensors').stat().st_size / 1e6
    assert line == (
        f'wrote {len(tensors)} tensors as float16 to {tmp_path / "w.safetensors"} '
        f'({size_mb:.1f} MB)'
    )


def test_a_learned_position_table_is_kept(tmp_path) -> None:
    saved = recognizer(seed=2, use_learnable_pos_emb=True)
    export_weights(saved, tmp_path / 'w.safetensors')
    assert 'backbone.pos_embed' in load_file(tmp_path / 'w.safetensors')
    load_checkpoint(recognizer(seed=1, use_learnable_pos_emb=True), tmp_path / 'w.safetensors')


def test_the_model_is_not_changed(tmp_path) -> None:
    saved = recognizer(seed=2).train()
    before = {name: tensor.clone() for name, tensor in saved.state_dict().items()}
    export_weights(saved, tmp_path / 'w.safetensors')
    assert saved.training and saved.backbone.patch_embed.projection.weight.dtype == torch.float32
    assert all(torch.equal(tensor, before[name]) for name, tensor in saved.state_dict().items())


def test_an_old_file_is_replaced_whole_and_no_other_is_left(tmp_path) -> None:
    export_weights(recognizer(seed=1), tmp_path / 'w.safetensors')
    export_weights(recognizer(seed=2), tmp_path / 'w.safetensors', torch.float32)
    assert [path.name for path in tmp_path.iterdir()] == ['w.safetensors']
    model = recognizer(seed=1)
    load_checkpoint(model, tmp_path / 'w.safetensors')
    assert torch.equal(logits(model), logits(recognizer(seed=2)))


def test_numbers_beyond_half_precision_are_not_written_as_infinity(tmp_path) -> None:
    saved = recognizer(seed=2)
    with torch.no_grad():
        saved.backbone.fc_norm.bias[3] = 1e6
    with pytest.raises(ValueError, match='backbone.fc_norm.bias'):
        export_weights(saved, tmp_path / 'w.safetensors')
    assert not list(tmp_path.iterdir())
