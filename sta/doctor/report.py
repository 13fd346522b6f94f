"""Run the doctor's checks and print them as a table, plain text or JSON."""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import platform
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from sta.compat import WORKAROUNDS, first_line, heal_host
from sta.environment import accept_any_text, distribution_version
from sta.errors import HostError
from sta.repair import install, reinstall, repair_opencv, return_to_numpy_1, torch_needs_numpy_1

from .packages import (
    HOST,
    PACKAGES,
    Check,
    Finding,
    State,
    absent_package,
    check_pip,
    check_python,
    check_shared_memory,
    check_work_dirs,
    mend_of,
    package_checks,
)

COLOURS = {
    State.OK: 'green',
    State.HEALED: 'cyan',
    State.NOTE: 'yellow',
    State.SKIPPED: 'yellow',
    State.BROKEN: 'bold red',
}
HEADER = ('what', 'found', 'required', 'state')
UNKNOWN = 'no command is known; please report it with what --json prints'


def main(argv: Sequence[str] | None = None) -> int:
    """Examine this environment and print the findings.

    Args:
        argv: command line without the program's name; default sys.argv.

    Returns:
        0 when the project can be used, 1 when something is broken.
    """
    parser = argparse.ArgumentParser(
        prog='python -m sta.doctor',
        description='Shows versions, what is broken, and the command that mends it.',
        epilog='Exit status: 0 usable, 1 something is broken, 2 wrong command line.',
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    arguments = parser.parse_args(argv)
    accept_any_text()
    findings = examine()
    usable = not _in_state(findings, State.BROKEN)
    if arguments.json:
        print(json.dumps({'usable': usable, 'findings': [asdict(f) for f in findings]}, indent=2))
    else:
        print_table(findings)
        print_mends(findings)
    return 0 if usable else 1


def all_checks() -> list[Check]:
    """Every check, those first that explain the failures of others."""
    return [
        Check('pip', lambda unusable: [check_pip()]),
        Check('shared memory', lambda unusable: check_shared_memory()),
        Check('work_dirs', lambda unusable: [check_work_dirs()]),
        *package_checks(),
        *probe_checks(),
    ]


def examine() -> list[Finding]:
    """Run every check; never raises, whatever the packages do.

    The checks run in a process of their own: what packages print stays off the screen, and one that
    takes the process down (illegal instructions, libraries that do not fit) is a finding, after
    which another process goes on.
    """
    findings = [check_python(platform.python_version())]
    checks = all_checks()
    if findings[0].state is State.BROKEN:  # too old an interpreter would make the rest misleading
        return findings
    while checks:
        done, crash = _examine_apart(checks, _unusable(findings))
        for batch in done:
            findings += batch
        checks = checks[len(done) :]
        if crash and checks:
            findings.append(_crashed(checks.pop(0).subject, crash))
    if sys.stderr.isatty():
        print('\r\033[K', end='', file=sys.stderr, flush=True)
    return findings


def _examine_apart(checks: Sequence[Check], unusable: set[str]) -> tuple[list[list[Finding]], str]:
    """Findings of the checks that ran, one list each, and what ended the process early, if so."""
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_checks, args=(checks, unusable, sender), daemon=True)
    process.start()
    sender.close()
    done: list[list[Finding]] = []
    while len(done) < len(checks):
        if sys.stderr.isatty():
            print(f'\r\033[Klooking at {checks[len(done)].subject}', end='', file=sys.stderr)
            sys.stderr.flush()
        try:
            done.append(receiver.recv())
        except (EOFError, OSError):
            break
    process.join()
    if len(done) == len(checks):
        return done, ''
    status = process.exitcode or 0
    return done, f'ended with {signal.Signals(-status).name if status < 0 else f"status {status}"}'


def _run_checks(checks: Sequence[Check], unusable: set[str], sender: Connection) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # also what C++ prints
        os.dup2(silence, stream)
    warnings.simplefilter('ignore')
    unusable = set(unusable)
    for check in checks:
        try:
            findings = list(check.run(unusable))
        except (Exception, SystemExit) as error:
            fault = f'the check itself failed: {first_line(error)}'
            findings = [Finding(check.subject, fault, '', State.BROKEN)]
        unusable |= _unusable(findings)
        sender.send(findings)


def _crashed(subject: str, crash: str) -> Finding:
    """A check that took its process down; the files of what it tried are suspect."""
    blamed = {probe.subject: probe.blamed for probe in PROBES if probe.blamed}
    blamed |= {package.distribution: package.distribution for package in PACKAGES}
    mend = reinstall(blamed[subject]) if subject in blamed else ''
    mend = repair_opencv() if subject == 'opencv' else mend
    return Finding(subject, crash, 'does not crash', State.BROKEN, mend)


def _in_state(findings: Sequence[Finding], state: State) -> list[Finding]:
    return [finding for finding in findings if finding.state is state]


def _unusable(findings: Sequence[Finding]) -> set[str]:
    return {finding.subject for finding in findings if not finding.is_usable}


def print_table(findings: Sequence[Finding]) -> None:
    """Print one row per finding, with rich where rich works."""
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except Exception:  # the doctor must work where rich does not
        print_plain_table(findings)
        return
    table = Table()
    for title in HEADER:
        table.add_column(title, overflow='fold')
    for finding in findings:
        state = f'[{COLOURS[finding.state]}]{finding.state.value}[/]'
        table.add_row(
            escape(finding.subject), escape(finding.found), escape(finding.required), state
        )
    Console().print(table)


def print_plain_table(findings: Sequence[Finding]) -> None:
    """Print aligned columns with nothing but print."""
    rows = [HEADER, *((f.subject, f.found, f.required, f.state.value) for f in findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths)))


def print_mends(findings: Sequence[Finding]) -> None:
    """Print the verdict and, for each broken thing, the command that mends it."""
    counts = Counter(finding.state for finding in findings)
    left_out = [f for f in _in_state(findings, State.NOTE) if f.installs]
    if not counts[State.BROKEN]:
        usable = 'Usable for sta.apply alone' if left_out else 'Usable'
        healed = counts[State.HEALED]
        print(f'{usable}: nothing broken, {healed} host defect{"s"[: healed != 1]} healed.')
        for mend in group_mends(left_out):
            print(f'For the rest: {mend}')
        return
    print(f'Broken: {counts[State.BROKEN]}. To mend, in this order:')
    for mend, subjects in group_mends(_in_state(findings, State.BROKEN)).items():
        print(f'  {", ".join(subjects)}: {mend or UNKNOWN}')


def group_mends(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """Map each mending command to the subjects it mends: one cause can break several things.

    Plain installations become one command, so that pip resolves them together.
    """
    together = install(*(wanted for finding in findings for wanted in finding.installs))
    mends: dict[str, list[str]] = {}
    for finding in findings:
        mends.setdefault(together if finding.installs else finding.mend, []).append(finding.subject)
    return mends


@dataclass(frozen=True)
class Probe:
    """One thing to try.

    Attributes:
        subject: what is tried.
        proves: what its success means.
        needs: distributions of packages.PACKAGES without which trying is pointless.
        attempt: does it and says what it saw; raises when it does not work.
        blamed: distribution to write anew where the error itself points at none.
    """

    subject: str
    proves: str
    needs: tuple[str, ...]
    attempt: Callable[[], str]
    blamed: str = ''


def probe_checks() -> Iterator[Check]:
    """The work-arounds, and what is tried with them in force."""
    yield Check('work-arounds', heal)
    for probe in PROBES:
        yield Check(probe.subject, functools.partial(_tried, probe))


def _tried(probe: Probe, unusable: set[str]) -> list[Finding]:
    return [try_probe(probe, unusable)]


def try_probe(probe: Probe, unusable: set[str]) -> Finding:
    """Try one thing, unless it cannot work; never raises."""
    culprits = sorted(unusable & set(probe.needs))
    if culprits:
        reason = f'needs {", ".join(culprits)}'
        return Finding(probe.subject, reason, probe.proves, State.SKIPPED)
    try:
        return Finding(probe.subject, probe.attempt(), probe.proves, State.OK)
    except (Exception, SystemExit) as error:  # a probe is there to fail
        missing = absent_package(error)
        if missing in unusable:
            return Finding(probe.subject, f'needs {missing}', probe.proves, State.SKIPPED)
        mend = mend_of_probe(probe, error)
        return Finding(probe.subject, first_line(error), probe.proves, State.BROKEN, mend)


def mend_of_probe(probe: Probe, error: BaseException) -> str:
    """The command for what a probe ran into; empty where no package is at fault."""
    numpy = distribution_version('numpy') or ''
    if probe.attempt is try_arrays and torch_needs_numpy_1() and not numpy.startswith('1.'):
        return return_to_numpy_1()
    return mend_of(error, probe.blamed)


def heal(unusable: set[str]) -> Iterator[Finding]:
    """Apply sta.compat and report each work-around in force."""
    culprits = sorted(unusable & set(HOST))
    if culprits:
        reason = f'needs {", ".join(culprits)}'
        yield Finding('work-arounds', reason, 'sta.compat', State.SKIPPED)
        return
    try:
        in_force = heal_host()
    except HostError as error:
        reason, _, mend = str(error).partition(' Mend: ')
        yield Finding('work-arounds', reason, 'sta.compat', State.BROKEN, mend)
        return
    except (Exception, SystemExit) as error:
        mend = mend_of(error, 'mmengine')
        yield Finding('work-arounds', first_line(error), 'sta.compat', State.BROKEN, mend)
        return
    for workaround in WORKAROUNDS:
        if workaround.name in in_force:
            yield Finding(workaround.name, workaround.defect, 'sta.compat', State.HEALED)


def try_devices() -> str:
    """Name the GPUs PyTorch can use, or say that there are none."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f'CUDA {torch.version.cuda}: {", ".join(names)}'
    if torch.version.cuda is not None:
        return f'CPU only: built for CUDA {torch.version.cuda}, but no usable GPU or driver'
    return f'CPU only, {torch.get_num_threads()} threads'


def try_arrays() -> str:
    """Pass an array to torch and back: fails for torch < 2.3 with numpy 2."""
    import numpy as np
    import torch

    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    if not np.array_equal(torch.from_numpy(array).mul(2).numpy(), array * 2):
        raise ValueError('numpy -> torch -> numpy changed the values')
    return 'numpy <-> torch'


def try_attention() -> str:
    """Compare fused attention with its formula."""
    import torch
    import torch.nn.functional as F

    q, k, v = torch.linspace(-1, 1, 3 * 2 * 5 * 4).reshape(3, 1, 2, 5, 4)
    expected = (q @ k.transpose(-2, -1) / 4**0.5).softmax(-1) @ v
    difference = (F.scaled_dot_product_attention(q, k, v) - expected).abs().max().item()
    if difference > 1e-5:
        raise ValueError(f'fused attention is off by {difference:.1e}')
    return f'within {difference:.0e} of the formula'


def try_pruning() -> str:
    """Let one stage drop tokens of a made clip: what sta.apply does in every block it is given."""
    import torch

    from sta.pruning import prune_stage

    tokens = torch.linspace(-1, 1, 8 * 16 * 4).sin().reshape(1, 8 * 16, 4)
    kept, index = prune_stage(tokens, tokens, num_chunks=8, num_drop=4)[:2]
    if not torch.equal(kept, tokens[:, index[0]]) or kept.shape[1] != 8 * 12:
        raise ValueError(f'kept {tuple(kept.shape)}, not the tokens of its own index')
    return f'{kept.shape[1]} of {tokens.shape[1]} tokens kept'


def try_host_models() -> str:
    """Import mmaction's models, which its wheel alone does not allow."""
    import mmaction.models  # noqa: F401
    from mmaction.registry import MODELS

    return f'{len(MODELS.module_dict)} models registered'


def try_backbone() -> str:
    """Build a small STA backbone through the registry and let it drop tokens of one clip."""
    import torch
    from mmaction.registry import MODELS

    import sta.models  # noqa: F401

    size = dict(img_size=32, patch_size=16, embed_dims=32, depth=3, num_heads=2, num_frames=16)
    backbone = MODELS.build(dict(type='STAVisionTransformer', schedule=1, **size)).eval()
    with torch.no_grad():
        features, kept = backbone(torch.zeros(1, 3, 16, 32, 32), return_kept=True)
    return f'{tuple(features.shape)} features, {kept[-1].shape[1]} of 32 tokens kept'


def try_video() -> str:
    """Encode six grey frames as H.264 with PyAV and read them back with decord."""
    import av
    import numpy as np
    from decord import VideoReader

    greys = [30, 60, 90, 120, 150, 180]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, 'probe.mp4'))
        with av.open(path, 'w') as container:
            stream = container.add_stream('libx264', rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
            for grey in greys:
                image = np.full((48, 64, 3), grey, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format='rgb24')
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        frames = VideoReader(path, num_threads=1).get_batch(range(len(greys))).asnumpy()
    worst = np.abs(frames.mean((1, 2, 3)) - greys).max()
    if frames.shape != (len(greys), 48, 64, 3) or worst > 4:
        raise ValueError(f'decoded {frames.shape}, brightness off by {worst:.1f} of 255')
    return f'{len(greys)} frames of 64x48, brightness within {worst:.1f} of 255'


PROBES = (
    Probe('devices', 'what computes', ('torch',), try_devices, 'torch'),
    Probe('arrays', 'torch and numpy fit together', ('torch', 'numpy'), try_arrays, 'torch'),
    Probe('attention', 'fused attention', ('torch',), try_attention, 'torch'),
    Probe('pruning', 'a stage drops tokens', ('torch', 'einops'), try_pruning, 'torch'),
    Probe(
        'mmaction.models',
        'imports once healed',
        (*HOST, 'work-arounds'),
        try_host_models,
        'mmaction2',
    ),
    Probe(
        'backbone',
        'a registered model runs',
        (*HOST, 'einops', 'work-arounds'),
        try_backbone,
        'mmaction2',
    ),
    Probe('video', 'H.264 by PyAV, read by decord', ('av', 'decord', 'numpy'), try_video, 'decord'),
)
