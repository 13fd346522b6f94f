"""Training: the steps are those of a plain loop, and a resumed run ends where a whole one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmaction.registry import DATASETS
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sta.checkpoints import load_checkpoint
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.report import read_scores
from tests.checkpoints.sources import authors_names
from tests.models.small_vit import clips

from .tiny import Tiny, run_tool, save_weights

LAST = 'epoch_2.pth'


def weights_of(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=False)['state_dict']  # our own file


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.fixture(scope='module')
def trained(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an uninterrupted run, with exported weights."""
    folder = tmp_path_factory.mktemp('training') / 'whole'
    exported = folder / 'exported.safetensors'
    assert run_tool('train', tiny.training, '--work-dir', folder, '--export', exported) == 0
    return folder


def test_training_changes_every_weight(trained: Path) -> None:
    before, after = (weights_of(trained / name) for name in ('epoch_1.pth', LAST))
    same = [name for name in before if torch.equal(before[name], after[name])]
    assert same == ['backbone.pos_embed']  # a fixed table


def test_the_same_run_again_gives_the_same_weights(
    tiny: Tiny, trained: Path, tmp_path: Path
) -> None:
    assert run_tool('train', tiny.training, '--work-dir', tmp_path / 'again') == 0
    assert difference(weights_of(tmp_path / 'again' / LAST), weights_of(trained / LAST)) == 0


@pytest.mark.parametrize('way', ['by name', 'the last one'])
def test_a_resumed_run_ends_where_a_whole_one_does(
    tiny: Tiny, trained: Path, tmp_path: Path, way: str
) -> None:
    folder = tmp_path / 'resumed'
    if way == 'by name':
        arguments = ('--resume', trained / 'epoch_1.pth')
    else:
        options = ('--cfg-options', 'train_cfg.max_epochs=1')
        assert run_tool('train', tiny.training, '--work-dir', folder, *options) == 0
        assert not (folder / LAST).exists()
        arguments = ('--resume',)
    assert run_tool('train', tiny.training, '--work-dir', folder, *arguments) == 0
    assert difference(weights_of(folder / LAST), weights_of(trained / LAST)) == 0


def test_another_order_of_videos_gives_other_weights(
    tiny: Tiny, trained: Path, tmp_path: Path
) -> None:
    """Else the two tests above would prove little."""
    options = ('--cfg-options', 'randomness.seed=1')
    assert run_tool('train', tiny.training, '--work-dir', tmp_path / 'seed', *options) == 0
    assert difference(weights_of(tmp_path / 'seed' / LAST), weights_of(trained / LAST)) > 1e-3


def test_resuming_where_there_is_nothing_starts_anew(
    tiny: Tiny, trained: Path, tmp_path: Path
) -> None:
    assert run_tool('train', tiny.training, '--resume', '--work-dir', tmp_path / 'new') == 0
    assert difference(weights_of(tmp_path / 'new' / LAST), weights_of(trained / LAST)) == 0


def make_batch(tiny: Tiny) -> tuple[Tensor, Tensor]:
    """Every video of the list as the pipeline gives it, and its label."""
    config = load_config(str(tiny.training))
    items = list(DATASETS.build(config.train_dataloader.dataset))
    inputs = torch.stack([item['inputs'][0] for item in items]).float()
    mean, std = (torch.tensor(config.model.data_preprocessor[key]) for key in ('mean', 'std'))
    shape = (3, 1, 1, 1)
    return (inputs - mean.view(shape)) / std.view(shape), torch.tensor(tiny.labels)


def test_steps_are_those_of_a_plain_loop(tiny: Tiny, tmp_path: Path) -> None:
    """All videos in one batch, so that their order does not matter; plain gradient descent."""
    model = build_model(load_config(str(tiny.training)))
    load_checkpoint(model, tiny.checkpoint)
    start = tmp_path / 'start.pth'
    torch.save({'state_dict': model.state_dict()}, start)
    options = [f'load_from={start}', 'train_dataloader.batch_size=7']
    options.append("optim_wrapper.optimizer={'type': 'SGD', 'lr': 0.02}")
    arguments = ('--work-dir', tmp_path / 'run', '--cfg-options', *options)
    assert run_tool('train', tiny.training, *arguments) == 0

    inputs, labels = make_batch(tiny)
    model.train()
    for _ in range(2):
        loss = cross_entropy(model.cls_head.fc_cls(model.backbone(inputs)), labels)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.02 * parameter.grad
    assert difference(weights_of(tmp_path / 'run' / LAST), weights_of(start)) > 1e-2
    assert difference(weights_of(tmp_path / 'run' / LAST), model.state_dict()) < 1e-5


def logits_of(model: nn.Module, source: object) -> Tensor:
    load_checkpoint(model, source)
    with torch.no_grad():
        return model.cls_head(model.eval().backbone(clips(4)))


def test_exported_weights_are_the_trained_ones_in_half_precision(tiny: Tiny, trained: Path) -> None:
    exported = load_file(trained / 'exported.safetensors')
    wanted = weights_of(trained / LAST)
    wanted.pop('backbone.pos_embed')
    assert exported.keys() == wanted.keys()
    assert all(torch.equal(exported[name], wanted[name].half()) for name in wanted)
    model = build_model(load_config(str(tiny.one_view)))
    found = logits_of(model, trained / 'exported.safetensors')
    whole = logits_of(model, trained / LAST)
    assert whole.std() > 0.1
    torch.testing.assert_close(found, whole, atol=1e-2, rtol=0)


def test_exported_weights_evaluate_as_the_checkpoint_does(
    tiny: Tiny, trained: Path, tmp_path: Path
) -> None:
    found = []
    for name in ('exported.safetensors', LAST):
        arguments = ('--schedules', '0', '4', '--work-dir', tmp_path / name)
        assert run_tool('test', tiny.one_view, trained / name, *arguments) == 0
        found.append(read_scores(tmp_path / name / 'scores.npz').scores)
    assert abs(found[0] - found[1]).max() < 5e-3


def test_training_in_bfloat16(tiny: Tiny, trained: Path, tmp_path: Path) -> None:
    """Weights stay float32, and go nearly where they go without it."""
    assert run_tool('train', tiny.training, '--amp', 'bf16', '--work-dir', tmp_path / 'half') == 0
    half, whole = weights_of(tmp_path / 'half' / LAST), weights_of(trained / LAST)
    assert {value.dtype for value in half.values()} == {torch.float32}
    start = weights_of(trained / 'epoch_1.pth')
    moved = torch.cat([(whole[n] - start[n]).flatten() for n in whole])
    moved_half = torch.cat([(half[n] - start[n]).flatten() for n in whole])
    assert not torch.equal(moved, moved_half)
    assert torch.cosine_similarity(moved, moved_half, dim=0) > 0.5


def test_the_final_epoch_is_validated(
    tiny: Tiny, tmp_path: Path, child: Callable[..., Path], capsys: pytest.CaptureFixture
) -> None:
    """Accuracy on the validation list is in the log: here of the training videos themselves."""
    text = (
        'val_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", '
        'shuffle=False), dataset={{_base_.test_dataloader.dataset}})\n'
        'val_cfg = dict(type="ValLoop")\nval_evaluator = dict(type="AccMetric")'
    )
    config, folder = child(text, tiny.training), tmp_path / 'run'
    assert run_tool('train', config, '--work-dir', folder) == 0
    logged = capsys.readouterr().out.split('Epoch(val) [2]')[-1]
    accuracy = float(logged.split('acc/top1: ')[1].split()[0])
    arguments = ('--schedules', '0', '--work-dir', tmp_path / 'test')
    assert run_tool('test', tiny.one_view, folder / LAST, *arguments) == 0
    found = read_scores(tmp_path / 'test' / 'scores.npz')
    assert accuracy == pytest.approx((found.scores[0].argmax(1) == found.labels).mean(), abs=1e-3)


def test_training_starts_from_files_of_any_known_kind(tiny: Tiny, tmp_path: Path) -> None:
    """mmengine would pass over weights under other names with a warning, and train from noise."""
    model = build_model(load_config(str(tiny.training)))
    load_checkpoint(model, tiny.checkpoint)
    named = authors_names(model.state_dict())
    torch.save({'module': named}, tmp_path / 'authors.pth')
    options = [f'load_from={tmp_path / "authors.pth"}', 'optim_wrapper.optimizer.lr=0.0']
    arguments = ('--work-dir', tmp_path / 'run', '--cfg-options', *options)
    assert run_tool('train', tiny.training, *arguments) == 0
    assert difference(weights_of(tmp_path / 'run' / LAST), model.state_dict()) == 0


def test_training_from_a_file_that_does_not_fit(
    refused: Callable[..., str], tiny: Tiny, tmp_path: Path
) -> None:
    save_weights(tiny.one_view, tmp_path / 'other.safetensors', depth=4)
    option = f'load_from={tmp_path / "other.safetensors"}'
    said = ('other.safetensors does not fit the model', 'unexpected')
    refused('train', tiny.training, '--cfg-options', option, said=said)
