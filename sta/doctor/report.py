"""Run the doctor's checks and print them as a table, plain text or JSON."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from sta.installed import accept_any_text

from .finding import Finding, State
from .packages import PIP_INSTALL, check_packages, check_python
from .probes import try_probes

COLOURS = {
    State.OK: 'green',
    State.HEALED: 'cyan',
    State.NOTE: 'yellow',
    State.SKIPPED: 'yellow',
    State.BROKEN: 'bold red',
}
HEADER = ('what', 'found', 'required', 'state')


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
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    arguments = parser.parse_args(argv)
    accept_any_text()
    findings = examine()
    usable = not _broken(findings)
    if arguments.json:
        print(json.dumps({'usable': usable, 'findings': [asdict(f) for f in findings]}, indent=2))
    else:
        print_table(findings)
        print_mends(findings)
    return 0 if usable else 1


def examine() -> list[Finding]:
    """Run every check, with whatever the packages print on the way kept off the screen."""
    with contextlib.ExitStack() as quiet:
        quiet.enter_context(warnings.catch_warnings())
        quiet.enter_context(contextlib.redirect_stdout(io.StringIO()))
        quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))
        warnings.simplefilter('ignore')
        findings = [check_python(platform.python_version())]
        if not _broken(findings):  # an interpreter too old would only make the rest misleading
            findings += check_packages()
            findings += try_probes(_broken(findings))
    return findings


def _broken(findings: Sequence[Finding]) -> set[str]:
    return {finding.subject for finding in findings if finding.state is State.BROKEN}


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
    if not counts[State.BROKEN]:
        print(f'Usable: nothing broken, {counts[State.HEALED]} host defects healed.')
        return
    print(f'Broken: {counts[State.BROKEN]}. To mend, in this order:')
    for mend, subjects in group_mends(findings).items():
        print(f'  {", ".join(subjects)}: {mend}')


def group_mends(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """Map each mending command to the subjects it mends: one cause can break several things.

    Plain installations become one command, so that pip resolves them together.
    """
    broken = [finding for finding in findings if finding.state is State.BROKEN]
    plain = [f for f in broken if f.mend.startswith(PIP_INSTALL + '"')]
    together = PIP_INSTALL + ' '.join(f.mend[len(PIP_INSTALL) :] for f in plain)
    mends: dict[str, list[str]] = {}
    for finding in broken:
        mend = together if finding in plain else finding.mend
        mends.setdefault(mend, []).append(finding.subject)
    return mends
