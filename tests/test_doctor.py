"""The doctor finds what is broken, names the mend, and never ends in a traceback."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sta.doctor import main
from sta.doctor.finding import Finding, State
from sta.doctor.packages import PIP_INSTALL, Package, check_opencv, check_package, check_python
from sta.doctor.probes import PROBES, Probe, heal, try_probe, try_probes
from sta.doctor.report import group_mends, print_plain_table
from tests.fake_packages import run_python, write_metadata, write_module


def examined(run) -> dict[str, dict]:
    assert 'Traceback' not in run.stdout + run.stderr, run.stderr
    return {finding['subject']: finding for finding in json.loads(run.stdout)['findings']}


def test_this_environment_is_usable() -> None:
    run = run_python('-m', 'sta.doctor', '--json')
    findings = examined(run)
    assert run.returncode == 0, findings
    assert json.loads(run.stdout)['usable'] is True
    tried = {probe.subject for probe in PROBES}
    assert tried <= set(findings)
    assert {findings[subject]['state'] for subject in tried} == {'ok'}


def test_without_any_package_it_still_reports() -> None:
    """-S leaves the standard library alone in the world, as on a machine before installing."""
    run = run_python('-S', 'tools/doctor.py')
    assert run.returncode == 1
    assert 'Traceback' not in run.stdout + run.stderr, run.stderr
    rows = {line.split()[0]: line for line in run.stdout.splitlines() if line}
    assert rows['torch'].split()[-1] == 'broken' and 'absent' in rows['torch']
    assert rows['video'].split()[-1] == 'skipped'
    assert (
        f'{PIP_INSTALL}"opencv-contrib-python" "torch==2.13.0" "numpy>=1.24" "mmeng' in run.stdout
    )


def test_packages_that_raise_at_import_are_findings(tmp_path: Path) -> None:
    write_module(tmp_path, 'torch', 'raise OSError("libtorch_cpu.so: cannot open")')
    write_module(tmp_path, 'rich', 'raise RuntimeError("half installed")')
    write_module(tmp_path, 'decord', 'import no_such_dependency')
    findings = examined(run_python('-m', 'sta.doctor', '--json', shadowed_by=tmp_path))
    states = {subject: finding['state'] for subject, finding in findings.items()}
    assert [states[s] for s in ('torch', 'rich', 'decord')] == ['broken'] * 3
    assert findings['torch']['found'] == 'OSError: libtorch_cpu.so: cannot open'
    assert findings['torch']['mend'].endswith('--force-reinstall --no-deps "torch==2.13.0"')
    assert findings['decord']['mend'] == f'{PIP_INSTALL}"decord>=0.6"'  # brings what it misses
    assert [states[s] for s in ('backbone', 'video', 'work-arounds')] == ['skipped'] * 3
    plain = run_python('-m', 'sta.doctor', shadowed_by=tmp_path)
    assert plain.returncode == 1 and 'Traceback' not in plain.stdout + plain.stderr
    assert 'Broken: ' in plain.stdout


def test_opencv_without_libgl_names_the_mend_once(tmp_path: Path) -> None:
    message = 'libGL.so.1: cannot open shared object file'
    write_module(tmp_path, 'cv2', f'raise ImportError({message!r})')
    run = run_python('-m', 'sta.doctor', shadowed_by=tmp_path)
    assert run.returncode == 1 and 'Traceback' not in run.stdout + run.stderr
    assert 'Broken: 1.' in run.stdout  # mmcv and mmaction2 fail too, for this reason alone
    assert run.stdout.count('apt-get install -y libgl1 libglib2.0-0') == 1
    assert 'opencv-contrib-python-headless' in run.stdout


def test_a_refused_mmcv_is_the_one_thing_to_mend(tmp_path: Path) -> None:
    write_module(tmp_path, 'mmcv', '__version__ = "2.2.0"')
    write_metadata(tmp_path, 'mmcv-lite', '2.2.0')
    run = run_python('-m', 'sta.doctor', '--json', shadowed_by=tmp_path)
    findings = examined(run)
    broken = [subject for subject, f in findings.items() if f['state'] == 'broken']
    assert run.returncode == 1 and broken == ['mmcv-lite']
    assert findings['mmcv-lite']['mend'] == f'{PIP_INSTALL}"mmcv-lite>=2.0,<2.2"'
    assert findings['mmaction2']['found'] == 'needs mmcv-lite'
    assert findings['attention']['state'] == findings['video']['state'] == 'ok'


@pytest.mark.parametrize(
    ('version', 'state'),
    [('3.9.18', State.BROKEN), ('3.10.0', State.OK), ('3.12.9', State.OK), ('3.13.0', State.NOTE)],
)
def test_python_versions(version: str, state: State) -> None:
    assert check_python(version).state is state


def test_versions_out_of_range_are_broken_although_they_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module(tmp_path, 'hostpkg', '')
    write_metadata(tmp_path, 'hostpkg-full', '2.2.0')
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = check_package(Package('hostpkg-lite', 'hostpkg', '>=2.0,<2.2', ('hostpkg-full',)))
    assert (finding.state, finding.found) == (State.BROKEN, '2.2.0 (hostpkg-full)')
    assert f'uninstall -y hostpkg-full && {PIP_INSTALL}"hostpkg-lite>=2.0,<2.2"' in finding.mend
    allowed = check_package(Package('hostpkg-lite', 'hostpkg', '>=2.0,<2.3', ('hostpkg-full',)))
    assert allowed.state is State.OK


def test_opencv_wheels_of_two_versions_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_metadata(tmp_path, 'opencv-python', '4.9.0.80')
    write_metadata(tmp_path, 'opencv-contrib-python', '4.13.0.92')
    write_metadata(tmp_path, 'opencv-python-headless', '4.13.0.92')
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = check_opencv()
    assert finding.state is State.BROKEN
    assert 'opencv-python==4.13.0.92 opencv-contrib-python==4.13.0.92' in finding.mend


def test_absent_opencv_is_installed_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('sta.doctor.packages.OPENCV_WHEELS', ())
    monkeypatch.setitem(sys.modules, 'cv2', None)
    finding = check_opencv()
    assert (finding.state, finding.found) == (State.BROKEN, 'absent')
    assert finding.mend.startswith(PIP_INSTALL)


def test_the_back_port_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'importlib_metadata', None)
    assert check_package(Package('importlib_metadata', 'importlib_metadata')).state is State.HEALED


def fails() -> str:
    raise ValueError('first line\nsecond line')


def test_a_failing_probe_is_one_row_with_its_mend() -> None:
    finding = try_probe(Probe('thing', 'it works', ('torch',), fails, 'turn it off and on'), set())
    assert finding == Finding(
        'thing', 'ValueError: first line', 'it works', State.BROKEN, 'turn it off and on'
    )


def test_a_probe_is_skipped_when_its_package_is_broken() -> None:
    finding = try_probe(Probe('thing', 'it works', ('torch', 'av'), fails), {'torch'})
    assert (finding.state, finding.found) == (State.SKIPPED, 'needs torch')


def test_a_host_beyond_healing_stops_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from sta.compat import HostError

    def refuse() -> None:
        raise HostError('mmcv 2.2.0 is installed. Mend: pip install something')

    monkeypatch.setattr('sta.doctor.probes.heal_host', refuse)
    [finding] = heal(set())
    assert (finding.state, finding.mend) == (State.BROKEN, 'pip install something')
    states = {finding.subject: finding.state for finding in try_probes({'torch', 'numpy'})}
    assert states['work-arounds'] is State.SKIPPED  # torch is the cause, named in its own row
    states = {finding.subject: finding.state for finding in try_probes(set())}
    assert states['mmaction.models'] is states['backbone'] is State.SKIPPED
    assert states['attention'] is State.OK


def test_mends_of_one_cause_are_named_once() -> None:
    broken = [
        Finding('torch', 'absent', '', State.BROKEN, f'{PIP_INSTALL}"torch==2.13.0"'),
        Finding('rich', '13', '', State.OK),
        Finding('mmcv', 'libGL', '', State.BROKEN, 'apt-get'),
        Finding('av', 'absent', '', State.BROKEN, f'{PIP_INSTALL}"av>=11"'),
        Finding('opencv', 'libGL', '', State.BROKEN, 'apt-get'),
    ]
    assert group_mends(broken) == {
        f'{PIP_INSTALL}"torch==2.13.0" "av>=11"': ['torch', 'av'],
        'apt-get': ['mmcv', 'opencv'],
    }


def test_plain_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_plain_table([Finding('torch', '2.13.0+cpu', '>=2.1', State.OK)])
    header, row = capsys.readouterr().out.splitlines()
    assert header.index('found') == row.index('2.13.0')
    assert header.index('state') == row.index('ok')


def test_too_old_a_python_ends_the_examination(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('platform.python_version', lambda: '3.9.18')
    assert main(['--json']) == 1
    assert [f['subject'] for f in json.loads(capsys.readouterr().out)['findings']] == ['python']
