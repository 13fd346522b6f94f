"""Folders, launchers, devices and numbers that cannot be: one clear line each."""

from __future__ import annotations

import importlib
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sta.datasets.motions.clips import SPLIT_CODES
from sta.datasets.preparation.splitting import NAMES
from sta.datasets.transforms import OpenVideo
from sta.engine import LAUNCHERS
from sta.engine.benchmarking import MODES
from sta.engine.scoring import PRECISIONS
from sta.export import FORMATS, INPUTS
from sta.report import read_scores
from sta.start import hosts_needed
from sta.sweeps.plan import EXECUTORS
from sta.visualization import SUFFIXES
from tests.datasets.test_guard import with_small_shm
from tests.fake_packages import run_python, write_module

from .tiny import NUM_VIDEOS, ROOT, load_tool, run_tool

STARTS_ALL = """
import runpy, sys
for tool in sys.argv[1:]:
    sys.argv = [tool]
    try:
        runpy.run_path(tool)
        print(tool, 'runs')
    except SystemExit as end:
        print(tool, end.code)
"""
LAUNCHED = ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_PROCID', 'SLURM_NTASKS')


@pytest.fixture(autouse=True)
def not_launched(monkeypatch) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.setenv(name, '1')  # as torchrun does; mmengine would warn and set them


CONFIG_OF = {'test': 'one_view', 'train': 'training'}


@pytest.mark.parametrize('tool', CONFIG_OF)
@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('--work-dir', 'notes.txt'), ('notes.txt',)),
        (('--work-dir', 'notes.txt/run'), ('notes.txt/run',)),
        # Nobody, not even root, can write there.
        (('--work-dir', '/proc/results'), ('/proc/results',)),
        (('--launcher', 'pytorch'), ('RANK', 'WORLD_SIZE', 'torchrun')),
        (('--launcher', 'slurm'), ('outside of srun', 'SLURM_PROCID')),
    ],
)
def test_places_and_launchers_that_cannot_be(refused, tiny, tool, arguments, said) -> None:
    Path('notes.txt').write_text('notes')
    refused(tool, getattr(tiny, CONFIG_OF[tool]), *arguments, said=said)


def test_results_are_never_written_over(refused, tiny, tmp_path) -> None:
    found = tmp_path / 'run' / 'results.json'
    found.parent.mkdir()
    found.write_text('precious')
    said = (str(found.parent), 'already holds results.json', 'another folder')
    refused('test', tiny.one_view, tiny.checkpoint, '--work-dir', found.parent, said=said)
    assert found.read_text() == 'precious'
    assert [path.name for path in found.parent.iterdir()] == ['results.json']


@pytest.mark.parametrize(
    ('tool', 'arguments', 'said'),
    [
        ('test', ['--amp', 'fp8'], ('--amp', "'fp8'", "'bf16'", "'fp16'")),
        ('test', ['--launcher', 'mpi'], ('--launcher', "'mpi'", "'slurm'")),
        ('test', ['--max-videos', 'all'], ('--max-videos', "'all'")),
        ('test', ['--schedule'], ('--schedules',)),
        ('train', ['--amp', 'fp8'], ('--amp', "'fp8'", "'bf16'")),
        ('benchmark', ['--dtype', 'int8'], ('--dtype', "'int8'", "'fp32'")),
        ('benchmark', ['--vs', 'timm'], ('--vs', "'timm'", "'mmaction2'")),
        ('test', [''], ('argument 2 is empty',)),
        ('test', ['a.pth', '--work-dir', ''], ('argument 4 (behind --work-dir) is empty',)),
        ('test', ['--work-dir='], ('argument 2 (behind --work-dir) is empty',)),
        ('predict', ['a.pth', 'a.mp4', '--classes', ''], ('(behind --classes) is empty',)),
        ('test', ['--resume', '--no-resume'], ('not allowed with argument --resume',)),
        ('test', ['--no-resume', '--resume'], ('not allowed with argument --no-resume',)),
        ('measure_fidelity', ['k', '--schedules', '4', '--budget', '1'], ('not allowed with',)),
    ],
)
def test_what_argparse_refuses(misused, tool, arguments, said) -> None:
    misused(tool, 'any.py', *arguments, said=said)


@pytest.mark.parametrize(
    ('tool', 'arguments', 'said'),
    [
        ('test', ('--max-videos', '0'), ('at least 1', 'got 0')),
        ('test', ('--max-videos', '-1'), ('at least 1', 'got -1')),
        ('benchmark', ('--rounds', '0'), ('--rounds must be at least 1, got 0',)),
        ('benchmark', ('--batch-size', '-3'), ('--batch-size must be at least 1, got -3',)),
        (
            'benchmark',
            ('--schedules', '0', '--rounds', '1', '--warm-up', '-1'),
            ('--warm-up must be at least 0, got -1',),
        ),
        ('benchmark', ('--device', 'cuda'), ('--device cuda', 'no GPU')),
    ],
)
def test_numbers_and_devices_that_cannot_be(refused, tiny, tool, arguments, said) -> None:
    if 'cuda' in arguments and torch.cuda.is_available():
        pytest.skip('there is a GPU')
    refused(tool, tiny.one_view, *arguments, said=said)


def test_a_process_of_its_own_in_any_folder_without_sta_installed(tmp_path) -> None:
    """The tool finds its own package, the config and the data that the config names."""
    code = 'import sys; sys.path += sys.argv.pop(1).split(":"); import runpy; '
    code += (
        'del sys.argv[0]; sys.path[0] = "nowhere"; runpy.run_path(sys.argv[0], run_name="__main__")'
    )
    paths = ':'.join(path for path in sys.path if 'site-packages' in path)
    command = [sys.executable, '-S', '-c', code, paths, str(ROOT / 'tools' / 'test.py')]
    environment = {name: v for name, v in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run(
        [*command, 'configs/sta_vit_motions.py', 'no.pth'],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr == 'error: checkpoint no.pth does not exist\n'
    assert done.stdout == ''


def test_a_library_that_is_missing_is_one_line_of_every_tool(tmp_path) -> None:
    write_module(tmp_path, 'torch', 'raise ModuleNotFoundError("No module", name="torch")')
    tools = sorted(str(path) for path in (ROOT / 'tools').glob('*.py'))
    done = run_python('-c', STARTS_ALL, *tools, shadowed_by=tmp_path)
    ends = dict(line.rsplit(' ', 1) for line in done.stdout.splitlines())
    # The doctor looks from outside; make_motions.py needs no torch.
    refused = [tool for tool in tools if ends[tool] == '2']
    assert len(refused) >= len(tools) - 2, ends
    lines = done.stderr.splitlines()
    assert len(lines) == len(refused)
    assert all(line.startswith('error: ') and 'not installed: torch' in line for line in lines)


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (AttributeError('nothing'), 'does not import (AttributeError: '),
        (ImportError('libGL.so.1: no such file'), 'libGL.so.1: no such file'),
    ],
)
def test_a_library_that_cannot_be_used(capsys, error, said) -> None:
    with pytest.raises(SystemExit), hosts_needed():
        raise error
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ') and said in line


def test_another_python_than_that_of_make_install(monkeypatch, tmp_path, capsys) -> None:
    python = tmp_path / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text('')
    python.chmod(0o755)
    monkeypatch.setattr('sta.start.REPOSITORY', tmp_path)
    with pytest.raises(SystemExit), hosts_needed():
        raise ModuleNotFoundError('No module', name='torch')
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f'error: not installed: torch, in {sys.executable}. Mend: run {python} ')


@pytest.mark.parametrize('tool', ['test', 'sweep', 'search_schedule', 'export', 'reproduce'])
def test_help_imports_nothing_slow(tool) -> None:
    code = 'import runpy, sys; tool = sys.argv[1]; sys.argv = [tool, "--help"]\n'
    code += 'try:\n    runpy.run_path(tool, run_name="__main__")\nexcept SystemExit as end:\n'
    code += '    print(end.code, {"torch", "mmengine", "numpy"} & set(sys.modules))'
    done = run_python('-c', code, str(ROOT / 'tools' / f'{tool}.py'))
    assert done.stdout.splitlines()[-1] == '0 set()' and done.stdout.startswith('usage: ')


def test_the_choices_of_parsers_are_those_of_the_code() -> None:
    """They are written out, since importing them would make --help slow."""
    asked = [
        ('test', ['c', '--launcher'], LAUNCHERS),
        ('train', ['c', '--launcher'], LAUNCHERS),
        ('reproduce', ['--launcher'], LAUNCHERS),
        ('export', ['c', 'k', '--schedule', '4', '--format'], FORMATS),
        ('export', ['c', 'k', '--schedule', '4', '--input'], INPUTS),
        ('benchmark', ['c', '--dtype'], PRECISIONS),
        ('benchmark', ['c', '--compile'], MODES),
        ('sweep', ['--executor'], EXECUTORS),
        ('prepare_kinetics400', ['c', '--videos', 'v', '--split'], set(NAMES.values())),
        ('make_motions', ['--split'], SPLIT_CODES),
        ('visualize_tokens', ['c', 'k', 'v', '--format'], [s[1:] for s in SUFFIXES]),
    ]
    for tool, words, choices in asked:
        for choice in choices:
            load_tool(tool).parse_arguments([*words, choice])
        with pytest.raises(SystemExit):
            load_tool(tool).parse_arguments([*words, 'another'])


BEFORE = [
    ('test', (), 'nowhere/val.txt does not exist'),
    ('measure_fidelity', ('--schedules', '2'), 'nowhere/val.txt does not exist'),
    ('search_schedule', ('--budget', '0.9'), 'nowhere/val.txt does not exist'),
    # Nobody, not even root, can write there.
    ('test', ('--work-dir', '/proc/x'), '/proc'),
    ('predict', ('VIDEO', '--out', '/proc/x.csv'), '/proc'),
    ('visualize_tokens', ('VIDEO', '--out', '/proc/x.png'), '/proc'),
    ('measure_fidelity', ('--schedules', '2', '--out', '/proc/x'), '/proc'),
    ('search_schedule', ('--budget', '0.9', '--out', '/proc/x'), '/proc'),
    ('test', ('--work-dir', 'run', '--resume'), '--resume: run'),
    ('test', ('--work-dir', 'stored', '--no-resume'), '--no-resume: stored'),
    ('test', ('--resume',), '--resume: work_dirs/one_view'),
]


@pytest.mark.parametrize(('tool', 'more', 'said'), BEFORE)
def test_what_cannot_be_is_said_before_weights_are_read(
    refused, tiny, child, tool, more, said
) -> None:
    for folder in ('run', 'stored'):
        Path(folder, 'scores').mkdir(parents=True)
    Path('stored/scores/1.sqlite').touch()
    more = [tiny.folder / 'videos/clip 0.mp4' if word == 'VIDEO' else word for word in more]
    config = tiny.one_view
    if said.startswith('nowhere'):
        config = child('test_dataloader = dict(dataset=dict(ann_file="nowhere/val.txt"))')
    refused(tool, config, 'no.pth', *more, said=(said,))


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files may take 5 kB: a write beyond that fails as one to a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_conversion_that_the_disk_does_not_take(refused, tiny, suffix, full_disk) -> None:
    target = Path(f'out{suffix}')
    target.write_text('old')
    said = (f'File too large: {target}',)
    refused('convert_checkpoint', tiny.checkpoint, target, '--force', said=said)
    assert target.read_text() == 'old' and [p.name for p in Path().iterdir()] == [target.name]


@pytest.mark.parametrize('form', ['pt2', pytest.param('onnx', marks=pytest.mark.slow)])
def test_an_export_that_the_disk_does_not_take(refused, tiny, form, full_disk) -> None:
    options = ('--schedule', '0', '--batch-size', '1', '--format', form, '--out', f'm.{form}')
    said = (f'File too large: m.{form}',)
    refused('export', tiny.one_view, tiny.checkpoint, *options, said=said)
    assert not list(Path().iterdir())


def test_a_training_that_the_disk_does_not_take(refused, tiny, full_disk) -> None:
    refused('train', tiny.training, '--work-dir', 'run', said=('File too large: ', 'run'))
    assert not [path for path in Path('run').rglob('*') if path.suffix in ('.pth', '.part')]


@pytest.mark.parametrize('redirected', ['>&-', '> /dev/full', '| true'])
def test_standard_output_that_takes_nothing(tiny, redirected) -> None:
    tool = shlex.join([sys.executable, str(ROOT / 'tools' / 'make_motions.py')])
    options = '--split val --num-clips 10 --size 64 --workers 1 --out motions'
    done = subprocess.run(
        ['bash', '-c', f'set -o pipefail; {tool} {options} {redirected}'],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert 'Traceback' not in done.stderr and 'Exception ignored' not in done.stderr
    assert done.returncode == (0 if redirected == '>&-' else 2), done.stderr
    if redirected != '>&-':
        assert 'error: standard output cannot be written: ' in done.stderr


def test_options_of_the_config_add_up() -> None:
    words = ['c', '--cfg-options', 'a=1', 'b=2', '--cfg-options', 'd=3']
    assert load_tool('test').parse_arguments(words).cfg_options == ['a=1', 'b=2', 'd=3']
    assert load_tool('test').parse_arguments(['c', '--no-resume']).resume is False
    assert load_tool('test').parse_arguments(['c']).resume is None


WORKERS = ('test_dataloader.num_workers=2', 'test_dataloader.batch_size=1')


def test_a_dev_shm_that_holds_no_batch(tiny, tmp_path, child) -> None:
    """Docker's is 64 MB; a batch of these is 0.6 MB, and four of them are on their way."""
    text = 'train_dataloader = dict(num_workers=2, batch_size=4, dataset=dict(max_videos=4))'
    training = child(text, tiny.training)

    def work() -> int:
        options = ('--work-dir', tmp_path / 'test', '--schedules', '0', '--examples', '0')
        options += ('--cfg-options', *WORKERS[:1])
        code = run_tool('test', tiny.six_views, tiny.checkpoint, *options)
        return code or run_tool('train', training, '--work-dir', tmp_path / 'train')

    assert with_small_shm('500k', work) == 0
    assert (tmp_path / 'test' / 'results.json').exists()
    assert (tmp_path / 'train' / 'epoch_2.pth').exists()


@pytest.fixture
def deadly(monkeypatch) -> Callable[[Callable[[], None]], None]:
    """Something happens to the process that opens the fourth video."""
    # torch raises for it at any moment: in its own lazy imports that would leave half a module.
    importlib.import_module('torch._dynamo')

    def install(happens: Callable[[], None]) -> None:
        opened = OpenVideo.transform

        def transform(self: OpenVideo, results: dict) -> dict:
            if 'clip 3' in results['filename']:
                happens()
            return opened(self, results)

        monkeypatch.setattr(OpenVideo, 'transform', transform)

    return install


def test_a_worker_that_dies_costs_nothing_that_was_scored(
    tiny, tmp_path, refused, deadly, monkeypatch
) -> None:
    folder = tmp_path / 'run'
    command = (tiny.one_view, tiny.checkpoint, '--schedules', '0', '--examples', '0')
    command += ('--work-dir', folder, '--cfg-options')
    deadly(lambda: os.kill(os.getppid(), signal.SIGKILL))
    said = ('a data loading worker died: it was killed (is memory short?)', 'is kept')
    said += ('--cfg-options test_dataloader.num_workers=N',)
    refused('test', *command, *WORKERS, said=said)
    assert not (folder / 'results.json').exists()
    monkeypatch.undo()
    assert run_tool('test', *command, WORKERS[1], 'test_dataloader.num_workers=0') == 0
    found = json.loads((folder / 'results.json').read_text())['environment']
    assert len(read_scores(folder / 'scores.npz').names) == NUM_VIDEOS
    assert found['resumed'] < NUM_VIDEOS


def test_a_video_whose_decoding_was_killed_is_decoded_again(
    tiny, tmp_path, deadly, monkeypatch
) -> None:
    """It is short of memory, not broken: a run that was cut off does not count it as done."""
    folder = tmp_path / 'run'
    command = (tiny.one_view, tiny.checkpoint, '--schedules', '0', '--examples', '0')
    command += ('--work-dir', folder)
    deadly(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with monkeypatch.context() as cut_off:
        cut_off.setattr('sta.engine.loop.assemble', None)
        with pytest.raises(TypeError):
            run_tool('test', *command)
    monkeypatch.undo()
    assert run_tool('test', *command) == 0
    assert len(read_scores(folder / 'scores.npz').names) == NUM_VIDEOS


@pytest.mark.parametrize('tool', ['train', 'predict', 'fidelity'])
def test_a_worker_that_dies_elsewhere(tiny, tmp_path, refused, deadly, child, tool) -> None:
    deadly(lambda: os.kill(os.getpid() if tool == 'train' else os.getppid(), signal.SIGKILL))
    said = ('a data loading worker died: it was killed', 'run the same command again')
    if tool == 'train':
        config = child('train_dataloader = dict(num_workers=2)', tiny.training)
        said += ('with --resume and', 'train_dataloader.num_workers=N')
        refused('train', config, '--work-dir', tmp_path / 'run', said=said)
        return
    options = ('--schedules', '0', '--cfg-options', *WORKERS)
    # Where torch's signal finds the main thread is not determined, nor which hint follows.
    said += ('num_workers',)
    if tool == 'predict':
        command = ('predict', tiny.one_view, tiny.checkpoint, tiny.folder / 'videos')
    else:
        command = ('measure_fidelity', tiny.one_view, tiny.checkpoint, '--out', tmp_path / 'run')
    refused(*command, *options, said=said)
