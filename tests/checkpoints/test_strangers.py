"""Files from strangers: nothing they hold is run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from sta.checkpoints import load_checkpoint, read_state_dict
from sta.errors import CheckpointError
from tests.checkpoints.refusals import refusal
from tests.checkpoints.sources import WRAPPINGS, recognizer, weights_of


class Touch:
    """Unpickled without care it makes a file."""

    def __init__(self, call: Callable, *arguments: str) -> None:
        self.parts = call, arguments

    def __reduce__(self):
        return self.parts


def attacks(marker: Path) -> dict[str, tuple[Touch, str]]:
    """What to pickle, and the call as the refusal must name it."""
    return {
        'shell': (Touch(os.system, f'touch {marker}'), f'{os.system.__module__}.system'),
        'open': (Touch(open, str(marker), 'w'), 'io.open'),
        'eval': (Touch(eval, f'open({str(marker)!r}, "w")'), 'eval'),
        'getattr': (Touch(getattr, Touch(open, str(marker), 'w'), 'close'), 'io.open'),
    }


@pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('place', ['args', 'model'])
@pytest.mark.parametrize('kind', ['shell', 'open', 'eval', 'getattr'])
def test_an_attack_is_refused_and_does_not_run(kind, place, is_zip, tmp_path) -> None:
    marker, path = tmp_path / 'marker', tmp_path / 'attack.pth'
    attack, call = attacks(marker)[kind]
    content = {**WRAPPINGS['model'](weights_of(recognizer())), place: attack}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    torch.load(path, weights_only=False)
    assert marker.exists(), 'the attack must be a live one'
    marker.unlink()

    model = recognizer(seed=1)
    before = weights_of(model)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, path)
    assert not marker.exists()
    message = str(caught.value)
    assert message.startswith(f'{path} was refused: it asks to call ') and '\n' not in message
    assert call in message and 'save the plain state_dict, best as .safetensors' in message
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_what_is_passed_over_is_not_called(tmp_path) -> None:
    """getattr stands in mmengine's logs; a file cannot use it to reach anything."""
    reach = Touch(getattr, Touch(getattr, torch.Size, '__class__'), '__subclasses__')
    torch.save({'model': weights_of(recognizer()), 'reach': reach}, tmp_path / 'reach.pth')
    assert set(read_state_dict(tmp_path / 'reach.pth')) == set(recognizer().state_dict())


def test_a_whole_pickled_model_is_refused(tmp_path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / 'whole.pth')
    message = refusal(tmp_path / 'whole.pth')
    assert 'it asks to call torch.nn.modules.container.Sequential' in message


@pytest.mark.skipif(
    not hasattr(torch.serialization, 'get_safe_globals'), reason='torch < 2.4 has no allow-list'
)
def test_the_global_allow_list_stays_as_it_was(trained, tmp_path) -> None:
    torch.serialization.add_safe_globals([Path])
    before = list(torch.serialization.get_safe_globals())
    load_checkpoint(recognizer(), trained[1])
    torch.save({'model': {'a': Touch(os.system, 'true')}}, tmp_path / 'attack.pth')
    for source in (tmp_path / 'attack.pth', tmp_path / 'none.pth'):
        with pytest.raises(CheckpointError):
            read_state_dict(source)
    after = torch.serialization.get_safe_globals()
    assert len(after) == len(before) and all(item in after for item in before)
