"""A file passes that agrees at every batch size, but for clips that rounding explains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sta.errors import ExportError
from sta.export import ClipClassifier, compare
from sta.export import check as checking
from sta.export.check import Agreement, batches_for

from .test_classifier import recognizer
from .test_ties import BestOfTwo

SHAPE = (3, 4, 32, 32)
FILE = Path('model.onnx')


@pytest.fixture
def file_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the file give the module's logits, changed in place by a function."""

    def put(module: nn.Module, spoil: Callable[[np.ndarray], object]) -> None:
        def elsewhere(path: Path, batches: list[np.ndarray]) -> list[np.ndarray]:
            with torch.no_grad():
                logits = [module(torch.from_numpy(clips)).numpy().copy() for clips in batches]
            for values in logits:
                spoil(values)
            return logits

        monkeypatch.setattr(checking, '_run_elsewhere', elsewhere)

    return put


def checked(module: ClipClassifier) -> Agreement:
    return compare(module, FILE, batches_for(module, None, SHAPE), 1e-4)


def one_clip_of_two(logits: np.ndarray) -> None:
    if len(logits) == 2:
        logits[0] += 0.01


def test_the_same_clips_run_at_every_batch_size() -> None:
    batches = batches_for(ClipClassifier(recognizer(), pixels='uint8'), None, SHAPE)
    assert {size: [len(clips) for clips in some] for size, some in batches.items()} == {
        3: [3, 3],
        2: [2, 2, 2],
        1: [1, 1, 1, 1, 1, 1],
    }
    assert_close(torch.cat(batches[3]), torch.cat(batches[1]), rtol=0, atol=0)
    assert_close(torch.cat(batches[3]), torch.cat(batches[2]), rtol=0, atol=0)


@pytest.mark.parametrize(('size', 'num_batches'), [(1, 6), (2, 3), (4, 2), (8, 1)])
def test_a_graph_of_one_batch_size_sees_six_clips_or_more(size: int, num_batches: int) -> None:
    batches = batches_for(ClipClassifier(recognizer(), pixels='uint8'), size, SHAPE)
    assert [len(clips) for clips in batches.pop(size)] == [size] * num_batches
    assert batches == {}


@pytest.mark.parametrize('size', [3, 2, 1])
def test_what_is_wrong_at_one_batch_size_only_is_refused(size: int, file_of: Callable) -> None:
    module = ClipClassifier(recognizer(), pixels='normalised')

    def spoil(logits: np.ndarray) -> None:
        logits += len(logits) == size

    file_of(module, spoil)
    with pytest.raises(ExportError, match=f'in batches of {size}, logits of 6 of 6 clips differ'):
        checked(module)


def test_half_of_the_clips_of_a_batch_size_are_too_many(file_of: Callable) -> None:
    module = ClipClassifier(recognizer(), pixels='normalised')
    file_of(module, one_clip_of_two)
    with pytest.raises(ExportError, match='in batches of 2, logits of 3 of 6 clips differ by more'):
        checked(module)


@pytest.mark.parametrize(
    ('schedule', 'reason'),
    [(None, 'no token is dropped'), (4, "rounding moves the eager model's by .*e-0[5-9] at most")],
)
def test_one_clip_that_rounding_does_not_explain_is_one_too_many(
    schedule: int | None, reason: str, file_of: Callable
) -> None:
    module = ClipClassifier(recognizer(schedule), pixels='normalised')
    left = iter([0.01])
    file_of(module, lambda logits: logits[:1].__iadd__(next(left, 0)))
    with pytest.raises(ExportError, match=f'of a clip differ by 0.01, more than .*{reason}'):
        checked(module)


def test_no_number_is_no_agreement(file_of: Callable) -> None:
    module = ClipClassifier(recognizer(), pixels='normalised')
    left = iter([np.nan])
    file_of(module, lambda logits: logits[:1].__iadd__(next(left, 0)))
    with pytest.raises(ExportError, match='logits of a clip differ by nan'):
        checked(module)


def test_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ClipClassifier(recognizer(), pixels='normalised')
    monkeypatch.setattr(
        checking, '_run_elsewhere', lambda path, batches: [np.zeros((1, 5))] * len(batches)
    )
    with pytest.raises(ExportError, match=r'logits \(1, 5\) where the eager model gives \(3, 5\)'):
        checked(module)


@pytest.mark.parametrize(('gap', 'tie'), [(2.0**-23, True), (1e-2, False)])
def test_tokens_of_nearly_equal_score_may_change_places(
    gap: float, tie: bool, file_of: Callable
) -> None:
    module = BestOfTwo(gap)
    module.backbone = SimpleNamespace(schedule=SimpleNamespace(active=True))
    left = iter([1])

    def choose_the_other(logits: np.ndarray) -> None:
        if next(left, 0):
            logits[0] = [0.0, 0.0]

    file_of(module, choose_the_other)
    batches = {3: [torch.ones(3, 1)], 1: [torch.ones(1, 1)] * 3}
    if not tie:
        with pytest.raises(ExportError, match='differ by 3, more than 0.0003, and rounding moves'):
            compare(module, FILE, batches, 1e-4)
        return
    agreement = compare(module, FILE, batches, 1e-4)
    assert agreement.differences == {3: [3.0, 0.0, 0.0], 1: [0.0, 0.0, 0.0]}
    assert 'left out: 1 of 6 that differ by up to 3, where tokens' in str(agreement)
