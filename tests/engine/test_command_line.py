"""How commands end."""

from __future__ import annotations

import io
import os
import signal
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from sta.datasets.errors import DataError
from sta.engine.command_line import USER_ERRORS, run_command


def raising(error: BaseException):
    def command() -> None:
        raise error

    return command


class Broken(Dataset):
    """A data set whose items cannot be decoded."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        raise DataError('video a: b.mp4 cannot be decoded: moov: nothing')


@pytest.mark.parametrize('kind', USER_ERRORS)
def test_a_mistake_of_the_user_is_one_line_and_status_2(
    kind: type[Exception], capsys: pytest.CaptureFixture
) -> None:
    assert run_command(raising(kind('no such thing;\n  use another\n\n'))) == 2
    assert capsys.readouterr() == ('', 'error: no such thing; use another\n')


def test_an_error_without_a_message_is_named(capsys: pytest.CaptureFixture) -> None:
    assert run_command(raising(DataError())) == 2
    assert capsys.readouterr().err == 'error: DataError\n'


@pytest.mark.parametrize('error', [ValueError('bug'), RuntimeError('bug'), KeyError('bug')])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        run_command(raising(error))


def test_an_interrupt_is_said_and_is_130(capsys: pytest.CaptureFixture) -> None:
    assert run_command(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == 'interrupted\n'


@pytest.mark.parametrize('status', [None, 0, 3])
def test_a_command_may_give_a_status(status: int | None) -> None:
    assert run_command(lambda: status) == (status or 0)


def test_what_a_worker_says_comes_without_its_traceback(capsys: pytest.CaptureFixture) -> None:
    loader = DataLoader(Broken(), num_workers=1)
    assert run_command(lambda: list(loader)) == 2
    assert capsys.readouterr().err == ('error: video a: b.mp4 cannot be decoded: moov: nothing\n')


class Killed(Broken):
    """A data set whose worker the system kills, as it does when memory is short."""

    def __getitem__(self, index: int) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_one_line(capfd: pytest.CaptureFixture) -> None:
    loader = DataLoader(Killed(), num_workers=1)
    assert run_command(lambda: list(loader)) == 2
    error = capfd.readouterr().err
    assert error.startswith('error: DataLoader worker (pid') and error.count('\n') == 1
    assert 'is memory short? (num_workers)' in error


@pytest.mark.parametrize('stream', ['stdout', 'stderr'])
def test_what_the_screen_has_no_letters_for_is_escaped(stream: str, monkeypatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding='ascii', write_through=True)
    monkeypatch.setattr(sys, stream, shown)
    assert run_command(lambda: print('größe \udcff', file=getattr(sys, stream))) == 0
    assert shown.buffer.getvalue() == b'gr\\xf6\\xdfe \\udcff\n'


def test_a_path_that_the_locale_cannot_say(capsys: pytest.CaptureFixture) -> None:
    assert run_command(lambda: 'größe.pth'.encode('ascii')) == 2
    assert capsys.readouterr().err == (
        "error: 'gr\\xf6\\xdfe.pth' cannot be said in ascii, the encoding of the locale: set "
        'PYTHONUTF8=1\n'
    )
