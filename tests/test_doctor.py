"""The doctor finds what is broken, names the mend, and never ends in a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from sta import repair
from sta.doctor import main
from sta.doctor.packages import (
    Finding,
    Package,
    State,
    check_opencv,
    check_package,
    check_pip,
    check_python,
    check_shared_memory,
    check_work_dirs,
)
from sta.doctor.report import PROBES, Probe, group_mends, heal, print_plain_table, try_probe
from sta.environment import distribution_version
from tests.fake_packages import ROOT, run_python, write_metadata, write_module

PIP_INSTALL = f'{sys.executable} -m pip install '
FORCED = f'{PIP_INSTALL}--force-reinstall --no-deps '


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
    assert 'needed for searches' in rows['optuna']
    command = run.stdout.splitlines()[-1]  # -S hides pip, too
    assert f'-m ensurepip && {PIP_INSTALL}"numpy>=1.24" "torch==2.13.0" "opencv-python==' in command
    assert command.count('opencv-python==5.0.0.93') == command.count('mmaction2==1.2.0') == 1


def test_packages_that_raise_at_import_are_findings(tmp_path) -> None:
    write_module(tmp_path, 'torch', 'raise OSError("libtorch_cpu.so: cannot open")')
    write_module(tmp_path, 'rich', 'raise RuntimeError("half installed")')
    write_module(tmp_path, 'decord', 'import no_such_dependency')
    write_metadata(tmp_path, 'decord', '0.6.1')
    with (tmp_path / 'decord-0.6.1.dist-info/METADATA').open('a') as metadata:
        metadata.write('Requires-Dist: no-such-dependency>=1\n')
    write_module(tmp_path, 'optuna', 'raise SystemExit(3)')
    write_module(tmp_path, 'einops', 'import os; print("loud"); os.abort()')
    write_module(tmp_path, 'scipy', 'raise ImportError("numpy.core.multiarray failed to import")')
    findings = examined(run_python('-m', 'sta.doctor', '--json', shadowed_by=tmp_path))
    states = {subject: finding['state'] for subject, finding in findings.items()}
    assert [states[s] for s in ('torch', 'rich', 'decord')] == ['broken'] * 3
    assert findings['torch']['found'] == 'OSError: libtorch_cpu.so: cannot open'
    assert findings['torch']['mend'].endswith('--force-reinstall --no-deps "torch==2.13.0"')
    assert findings['decord']['mend'] == f'{PIP_INSTALL}"decord>=0.6"'  # brings what it misses
    assert findings['optuna']['found'] == 'SystemExit: 3'
    assert findings['einops']['found'] == 'ended with SIGABRT'
    assert findings['einops']['mend'].startswith(f'{FORCED}"einops==')
    assert re.search('--upgrade "scipy>=1.11" "numpy==[^"]+"$', findings['scipy']['mend'])
    assert [states[s] for s in ('backbone', 'video', 'work-arounds')] == ['skipped'] * 3
    assert states['Jinja2'] == 'ok'  # looked at in a new process after the crash
    plain = run_python('-m', 'sta.doctor', shadowed_by=tmp_path)
    assert plain.returncode == 1 and 'Traceback' not in plain.stdout + plain.stderr
    assert 'Broken: ' in plain.stdout


def test_opencv_without_libgl_names_the_mend_once(tmp_path) -> None:
    message = 'libGL.so.1: cannot open shared object file'
    write_module(tmp_path, 'cv2', f'raise ImportError({message!r})')
    run = run_python('-m', 'sta.doctor', shadowed_by=tmp_path)
    assert run.returncode == 1 and 'Traceback' not in run.stdout + run.stderr
    assert 'Broken: 1.' in run.stdout  # mmcv and mmaction2 fail too, for this reason alone
    assert run.stdout.count('apt-get') == 1
    version = distribution_version('opencv-python')
    command = f'{FORCED}"opencv-contrib-python-headless=={version}"'
    assert run.stdout.splitlines()[-1] == f'  opencv: {command}'


def test_a_refused_mmcv_is_the_one_thing_to_mend(tmp_path) -> None:
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
def test_python_versions(version, state) -> None:
    assert check_python(version).state is state
    assert check_python('3.11.7').found == '3.11.7'
    assert check_python('3.12.9').found == '3.12.9: installed and imported; tested: 3.11'
    assert 'not tested (tested: 3.11; installed and imported: 3.10, 3.12)' in (
        check_python('3.13.0').found
    )
    assert f'make -C "{ROOT}" install PYTHON=' in check_python('3.9.18').mend


def test_pythons_before_3_9_get_one_line() -> None:
    pythons = sorted(Path.home().glob('.pyenv/versions/3.[678].*/bin/python'))
    if not pythons:
        pytest.skip('no Python before 3.9 here')
    for python in pythons:
        for arguments in (['-m', 'sta.doctor'], ['tools/doctor.py']):
            run = subprocess.run([python, *arguments], cwd=ROOT, capture_output=True, text=True)
            assert run.returncode == 1 and 'is too old: sta needs 3.10' in run.stdout
            assert run.stderr == '' and run.stdout.count('\n') == 1


def test_it_runs_from_any_folder_without_sta_being_installed(tmp_path) -> None:
    command = [sys.executable, '-S', str(ROOT / 'tools' / 'doctor.py'), '--json']
    run = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr == ''
    assert 'torch' in {finding['subject'] for finding in json.loads(run.stdout)['findings']}
    wrong = subprocess.run([*command, '--nonsense'], env={}, capture_output=True, text=True)
    assert wrong.returncode == 2 and 'Traceback' not in wrong.stderr


def test_the_machine(tmp_path, monkeypatch) -> None:
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr('shutil.disk_usage', lambda folder: usage(64 << 20, 0, 64 << 20))
    [small] = check_shared_memory(str(tmp_path))
    assert (small.state, small.found) == (State.NOTE, f'67 MB in {tmp_path}')
    assert list(check_shared_memory(str(tmp_path / 'absent'))) == []
    monkeypatch.chdir(tmp_path)
    assert check_work_dirs().state is State.OK

    def refuse(**settings: object) -> None:
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('tempfile.NamedTemporaryFile', refuse)
    refused = check_work_dirs()
    assert (refused.state, refused.found) == (State.NOTE, f'{tmp_path}: Permission denied')
    assert '--work-dir' in refused.required and not (tmp_path / 'work_dirs').exists()


def test_how_pip_installs_is_said(monkeypatch) -> None:
    assert check_pip().state is State.OK
    monkeypatch.setattr('sta.doctor.packages.module_folder', lambda name: None)
    assert 'ensurepip too' in check_pip().found and 'python3-pip' in check_pip().required
    monkeypatch.setattr('sta.doctor.packages.is_managed', lambda: True)
    assert 'PEP 668' in check_pip().found and 'sta-venv/bin/python' in check_pip().required


def test_sta_apply_alone_is_no_breakage(tmp_path) -> None:
    """Of OpenMMLab nothing, and sta installed: the rest was left out on purpose."""
    site = tmp_path / 'site-packages'
    write_metadata(site, 'sta', '0.1.0')
    code = """
import sys
from tests.fake_packages import Hider
sys.meta_path.insert(0, Hider('mmengine', 'mmcv', 'mmaction', 'optuna', 'cv2', {more}))
import importlib.metadata
version = importlib.metadata.version
hidden = ('mmengine', 'mmcv-lite', 'mmaction2', 'optuna', 'opencv', {more})
def without(name):
    if name.startswith(hidden):
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = without
from sta.doctor import main
sys.exit(main())
"""
    run = run_python('-c', code.format(more=''), shadowed_by=site)
    assert run.returncode == 0, run.stdout
    *_, verdict, command = run.stdout.splitlines()
    assert verdict == 'Usable for sta.apply alone: nothing broken, 0 host defects healed.'
    assert command.startswith(f'For the rest: {PIP_INSTALL}"opencv-python==')
    assert command.endswith('"mmaction2==1.2.0" "optuna>=4"')
    run = run_python('-c', code.format(more="'einops'"), shadowed_by=site)
    assert run.returncode == 1 and f'  einops: {PIP_INSTALL}"einops>=0.6"\n' in run.stdout


def test_versions_out_of_range_are_broken_although_they_import(tmp_path, monkeypatch) -> None:
    write_module(tmp_path, 'hostpkg', '')
    write_metadata(tmp_path, 'hostpkg-full', '2.2.0')
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = check_package(Package('hostpkg-lite', 'hostpkg', '>=2.0,<2.2', ('hostpkg-full',)))
    assert (finding.state, finding.found) == (State.BROKEN, '2.2.0 (hostpkg-full)')
    assert finding.mend == f'{PIP_INSTALL}"hostpkg-full>=2.0,<2.2"'  # the one that was chosen
    allowed = check_package(Package('hostpkg-lite', 'hostpkg', '>=2.0,<2.3', ('hostpkg-full',)))
    assert allowed.state is State.OK


def test_opencv_wheels_of_two_versions_are_broken(tmp_path, monkeypatch) -> None:
    write_metadata(tmp_path, 'opencv-python', '4.9.0.80')
    write_metadata(tmp_path, 'opencv-contrib-python', '4.13.0.92')
    write_metadata(tmp_path, 'opencv-python-headless', '4.13.0.92')
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = check_opencv()
    assert finding.state is State.BROKEN
    both = '"opencv-python==5.0.0.93" "opencv-contrib-python==5.0.0.93"'
    _, change, usual, headless = finding.mend.split(' && ')
    assert change == f'{FORCED}{both} "opencv-python-headless==5.0.0.93"'
    assert usual.endswith(f' {both}') and headless.endswith(' "opencv-python-headless==5.0.0.93"')
    assert 'uninstall' not in finding.mend


def test_opencv_that_lost_files_is_broken(tmp_path, monkeypatch) -> None:
    versions = repair.opencv_wheels()
    write_metadata(tmp_path, 'opencv-python', versions['opencv-python'])
    record = tmp_path / f'opencv_python-{versions["opencv-python"]}.dist-info' / 'RECORD'
    record.write_text('cv2/gone.txt,,\ncv2/__pycache__/gone.pyc,,\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = check_opencv()
    assert finding.state is State.BROKEN
    assert finding.found.endswith('but 1 files are gone, such as cv2/gone.txt')
    assert finding.mend.startswith(f'{FORCED}"opencv-python==')


def test_opencv_of_another_version_than_its_wheels(monkeypatch) -> None:
    monkeypatch.setattr('cv2.__version__', '4.9.0')
    assert check_opencv().found.endswith('but cv2 is 4.9.0')
    assert check_opencv().state is State.BROKEN


def test_absent_opencv_is_installed_not_explained(monkeypatch) -> None:
    monkeypatch.setattr('sta.repair.OPENCV_WHEELS', ())
    monkeypatch.setattr(
        'sta.doctor.packages.module_folder', lambda name: None if name == 'cv2' else ROOT
    )
    monkeypatch.setitem(sys.modules, 'cv2', None)
    finding = check_opencv()
    assert finding.state is State.BROKEN and finding.found.startswith('absent: needed for ')
    assert finding.mend.startswith(PIP_INSTALL)


def test_the_back_port_may_be_absent_but_not_damaged(tmp_path, monkeypatch) -> None:
    back_port = Package('importlib_metadata', 'importlib_metadata')
    write_module(tmp_path, 'importlib_metadata', 'raise ValueError("cut")')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'importlib_metadata', raising=False)
    damaged = check_package(back_port)
    assert damaged.state is State.BROKEN and damaged.mend.startswith(f'{FORCED}"importlib_metadata')
    monkeypatch.setattr('sta.doctor.packages.distribution_version', lambda name: None)
    assert check_package(back_port).state is State.HEALED


def fails() -> str:
    raise ValueError('first line\nsecond line')


def test_a_failing_probe_is_one_row_with_its_mend() -> None:
    finding = try_probe(Probe('thing', 'it works', ('torch',), fails, 'einops'), set())
    mend = repair.reinstall('einops')
    assert finding == Finding('thing', 'ValueError: first line', 'it works', State.BROKEN, mend)


def test_a_probe_is_skipped_when_its_package_is_broken() -> None:
    finding = try_probe(Probe('thing', 'it works', ('torch', 'av'), fails), {'torch'})
    assert (finding.state, finding.found) == (State.SKIPPED, 'needs torch')

    def misses_einops() -> str:
        raise ModuleNotFoundError("No module named 'einops'", name='einops.layers')

    finding = try_probe(Probe('thing', 'it works', (), misses_einops), {'einops'})
    assert (finding.state, finding.found) == (State.SKIPPED, 'needs einops')


def test_a_host_beyond_healing_stops_what_needs_it(monkeypatch) -> None:
    from sta.errors import HostError

    def refuse() -> None:
        raise HostError('mmcv 2.2.0 is installed. Mend: pip install something')

    monkeypatch.setattr('sta.doctor.report.heal_host', refuse)
    [finding] = heal(set())
    assert (finding.state, finding.mend) == (State.BROKEN, 'pip install something')
    assert [finding.state for finding in heal({'torch'})] == [State.SKIPPED]  # has its own row
    probes = {probe.subject: probe.needs for probe in PROBES}
    assert 'work-arounds' in set(probes['mmaction.models']) & set(probes['backbone'])


def test_mends_of_one_cause_are_named_once() -> None:
    broken = [
        Finding.to_install('torch', 'absent', '', State.BROKEN, 'torch==2.13.0'),
        Finding('mmcv', 'libGL', '', State.BROKEN, 'one command'),
        Finding.to_install('av', 'absent', '', State.BROKEN, 'av>=11'),
        Finding('opencv', 'libGL', '', State.BROKEN, 'one command'),
    ]
    assert group_mends(broken) == {
        f'{PIP_INSTALL}"torch==2.13.0" "av>=11"': ['torch', 'av'],
        'one command': ['mmcv', 'opencv'],
    }


def test_plain_table_is_aligned(capsys) -> None:
    print_plain_table([Finding('torch', '2.13.0+cpu', '>=2.1', State.OK)])
    header, row = capsys.readouterr().out.splitlines()
    assert header.index('found') == row.index('2.13.0')
    assert header.index('state') == row.index('ok')


def test_too_old_a_python_ends_the_examination(monkeypatch, capsys) -> None:
    monkeypatch.setattr('platform.python_version', lambda: '3.9.18')
    assert main(['--json']) == 1
    assert [f['subject'] for f in json.loads(capsys.readouterr().out)['findings']] == ['python']
