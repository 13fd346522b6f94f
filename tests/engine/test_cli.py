"""How commands end."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from sta.datasets.guard import through_memory
from sta.engine.cli import run_command
from sta.engine.loop import living_workers
from sta.errors import DataError, DeadProcessError, StaError, VariantError


def user_errors(kind: type[StaError] = StaError) -> list[type[StaError]]:
    """All of the tree."""
    return [kind, *(error for below in kind.__subclasses__() for error in user_errors(below))]


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


@pytest.mark.parametrize('kind', user_errors())
def test_a_mistake_of_the_user_is_one_line_and_status_2(
    kind: type[Exception], capsys: pytest.CaptureFixture
) -> None:
    assert run_command(raising(kind('no such thing;\n  use another\n\n'))) == 2
    assert capsys.readouterr() == ('', 'error: no such thing; use another\n')


def test_an_error_without_a_message_is_named(capsys: pytest.CaptureFixture) -> None:
    assert run_command(raising(DataError())) == 2
    assert capsys.readouterr().err == 'error: DataError\n'


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs a file that takes nothing')
def test_a_log_that_the_disk_does_not_take_is_no_traceback(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, 'raiseExceptions', True)  # put back at the end

    def command() -> None:
        handler = logging.StreamHandler(open('/dev/full', 'w'))  # noqa: SIM115
        record = logging.makeLogRecord({'msg': 'long' * 10_000})
        handler.handle(record)
        raise DataError('the disk is full')

    assert run_command(command) == 2
    assert capsys.readouterr().err == 'error: the disk is full\n'


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


class Dying(Broken):
    """A data set whose worker dies, as it does when memory is short."""

    def __init__(self, death: Callable[[], None]) -> None:
        self.death = death

    def __getitem__(self, index: int) -> torch.Tensor:
        self.death()
        return torch.zeros(1)


@pytest.mark.parametrize(
    ('death', 'how'),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), 'was killed (is memory short?)'),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), 'crashed (SIGBUS)'),
        (lambda: os._exit(3), 'ended with status 3'),
    ],
)
def test_a_worker_that_dies_is_one_line(
    capfd: pytest.CaptureFixture, death: Callable[[], None], how: str
) -> None:
    loader = through_memory(DataLoader(Dying(death), num_workers=1))
    assert run_command(lambda: list(loader)) == 2
    assert capfd.readouterr().err == (
        f'error: a data loading worker died: it {how}; run the same command again with a smaller '
        f'num_workers or more memory\n'
    )


@pytest.mark.parametrize('made_of_it', [VariantError('views'), ValueError('bug')])
def test_a_death_that_was_noticed_elsewhere_is_not_lost(made_of_it: Exception) -> None:
    """torch raises between any two instructions, also where errors mean something else."""

    def loop() -> None:
        try:
            raise RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. ')
        except RuntimeError as error:
            raise made_of_it from error

    said = r'it was killed .*; go on with fewer workers \(--cfg-options val_dataloader.num_workers='
    with pytest.raises(DataError, match=said), living_workers('val_dataloader', again='go on'):
        loop()


def test_other_errors_of_a_loop_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match='bug'), living_workers():
        raise ValueError('bug')


def test_a_decoding_process_that_dies_again_and_again_is_one_line() -> None:
    with (
        pytest.raises(DataError, match='^it died, the last of 6 in a row; run the same command'),
        living_workers(),
    ):
        list(
            DataLoader(
                Dying(raising(DeadProcessError('it died, the last of 6 in a row'))), num_workers=1
            )
        )


def test_another_process_of_the_run_that_died_is_one_line(capsys: pytest.CaptureFixture) -> None:
    said = (
        '[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:5] Connection closed by peer [::1]'
    )
    assert run_command(raising(RuntimeError(f'{said}:7. This is typically caused by'))) == 2
    assert capsys.readouterr().err == (
        'error: another process of this run is gone, its own line says why (Connection closed by '
        'peer [::1]:7)\n'
    )


def test_torch_does_not_count_the_cores(capfd: pytest.CaptureFixture) -> None:
    def command() -> None:
        DataLoader(Broken(), num_workers=1000)

    with warnings.catch_warnings(record=True) as caught:
        assert run_command(command) == 0
    assert caught == []


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
