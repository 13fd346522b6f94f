"""Run the doctor's checks and print them as a table, plain text or JSON."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection

from sta.compat import first_line
from sta.environment import accept_any_text
from sta.repair import install, reinstall, repair_opencv

from .finding import Check, Finding, State
from .packages import (
    PACKAGES,
    check_pip,
    check_python,
    check_shared_memory,
    check_work_dirs,
    package_checks,
)
from .probes import PROBES, probe_checks

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


def _examine_apart(checks: Sequence[Check], unusable: set[str]) -> tuple[list, str]:
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
