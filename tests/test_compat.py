"""Each defect of a host library is provoked, then seen to be mended."""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from sta import compat
from sta.compat import WORKAROUNDS, heal_host
from sta.doctor.packages import PACKAGES, check_opencv, check_package
from sta.errors import HostError
from sta.repair import HOST_REQUIREMENTS
from tests.fake_packages import Hider, run_python, write_metadata, write_module

MMCV = next(package for package in PACKAGES if package.module == 'mmcv')


def named(name: str) -> compat.Workaround:
    return next(workaround for workaround in WORKAROUNDS if workaround.name == name)


def test_mmaction_imports_and_a_second_call_changes_nothing() -> None:
    first = heal_host()
    before = {name: module for name, module in sys.modules.items() if 'localizers.drn' in name}
    assert heal_host() == first
    assert all(sys.modules[name] is module for name, module in before.items())
    import mmaction.models
    from mmaction.registry import MODELS

    assert MODELS.get('VisionTransformer') is mmaction.models.VisionTransformer


def test_every_workaround_says_where_it_comes_from_and_when_it_can_go() -> None:
    assert len({workaround.name for workaround in WORKAROUNDS}) == len(WORKAROUNDS)
    for workaround in WORKAROUNDS:
        assert workaround.defect and workaround.source and workaround.until


def test_a_start_imports_neither_transformers_nor_scipys_statistics() -> None:
    """What asks for them at its import has them where it is used."""
    code = """
import sys, sta.engine
print({'transformers', 'scipy.stats'} & set(sys.modules))
from mmaction.datasets.transforms.pose_transforms import get_mode
print(get_mode([1, 2, 2]).mode)
from mmengine.registry import OPTIMIZERS
from sta.compat import register_adafactor
register_adafactor()
print(OPTIMIZERS.get('Adafactor').__name__)
"""
    run = run_python('-W', 'ignore', '-c', code)
    assert run.stdout.splitlines() == ['set()', '[2]', 'Adafactor'], run.stderr


@pytest.mark.parametrize('shipped', [False, True])
def test_drn_is_stubbed_only_where_the_wheel_lacks_it(shipped, tmp_path, monkeypatch) -> None:
    write_module(tmp_path, 'mmaction', '')
    if shipped:
        (tmp_path / 'mmaction/models/localizers/drn').mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert named('mmaction2 DRN').needed() is not shipped


def test_the_stub_says_what_it_stands_for(monkeypatch) -> None:
    for name in (compat.DRN_PACKAGE, f'{compat.DRN_PACKAGE}.drn'):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, name, sys.modules.get(name))  # restored afterwards
        del sys.modules[name]
    named('mmaction2 DRN').apply()
    with pytest.raises(HostError, match='lacks DRN; install mmaction2 from source'):
        sys.modules[f'{compat.DRN_PACKAGE}.drn'].DRN()


def test_missing_back_port_is_replaced_by_the_standard_module() -> None:
    """In a process of its own: once imported, the back-port also serves importlib.metadata."""
    code = """
import importlib.metadata, sys
from tests.fake_packages import Hider
sys.meta_path.insert(0, Hider('importlib_metadata'))
from sta.compat import heal_host
assert 'importlib_metadata' in heal_host()
assert 'importlib_metadata' in heal_host(), 'the stand-in must not count as installed'
from mmaction.utils import dependency
assert dependency.distribution is importlib.metadata.distribution
"""
    run = run_python('-c', code)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize('distribution', ['mmcv', 'mmcv-lite'])
def test_an_mmcv_that_mmaction_refuses_is_named_with_its_mend(
    distribution, tmp_path, monkeypatch
) -> None:
    write_metadata(tmp_path, distribution, '2.2.0')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(HostError, match=rf'^{distribution} 2\.2\.0 is installed') as refusal:
        heal_host()
    command = str(refusal.value).partition('Mend: ')[2]
    assert command == check_package(MMCV).mend  # which the tests of sta.repair run


def test_missing_libraries_are_named_together(monkeypatch) -> None:
    monkeypatch.setattr(sys, 'meta_path', [Hider('mmaction', 'mmcv'), *sys.meta_path])
    with pytest.raises(HostError) as refusal:
        heal_host()
    assert str(refusal.value) == (
        f'not installed: mmcv, mmaction. Mend: {sys.executable} -m pip install '
        '"mmcv-lite>=2.0,<2.2" "mmaction2==1.2.0"'
    )
    assert {f'{p.install or p.distribution + p.required}' for p in PACKAGES} >= set(
        HOST_REQUIREMENTS.values()
    )


def test_opencv_without_a_desktop_is_named_with_both_mends(tmp_path, monkeypatch) -> None:
    message = 'libGL.so.1: cannot open shared object file: No such file or directory'
    write_module(tmp_path, 'cv2', f'raise ImportError({message!r})')
    write_metadata(tmp_path, 'opencv-contrib-python', '5.0.0.93')
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split('.')[0] == 'cv2']:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(HostError, match='libGL') as refusal:
        heal_host()
    reason, _, command = str(refusal.value).partition(' Mend: ')
    assert 'apt-get install -y libgl1 libglib2.0-0' in reason
    assert '"opencv-contrib-python-headless==5.0.0.93"' in command
    assert command == check_opencv().mend


@pytest.mark.parametrize(('module', 'said'), [('cv2', 'OpenCV'), ('numpy', 'numpy')])
def test_half_an_uninstall_is_named(module, said, tmp_path) -> None:
    """A folder without __init__.py imports, and has nothing in it."""
    code = f"""
import sys, types
sys.modules[{module!r}] = types.ModuleType({module!r})
from sta.compat import heal_host
heal_host()
"""
    run = run_python('-c', code)
    last = run.stderr.splitlines()[-1]
    assert f'HostError: {said} does not import (ImportError: {module} is half removed' in last
    assert re.search(r'Mend: \S+ -m pip install --force-reinstall --no-deps "', last)


def test_configs_of_mmaction_can_be_inherited(tmp_path) -> None:
    heal_host()
    from mmengine.config import Config

    name = 'vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400.py'
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = 'mmaction::recognition/videomae/{name}'\n", encoding='utf-8')
    assert Config.fromfile(child).model.backbone.type == 'VisionTransformer'


def test_a_package_that_does_not_exist_cannot_be_inherited_from(tmp_path) -> None:
    heal_host()
    from mmengine.config import Config

    child = tmp_path / 'child.py'
    child.write_text("_base_ = 'mmdet::detr/detr_r50.py'\n", encoding='utf-8')
    with pytest.raises(ModuleNotFoundError, match='mmdet is not installed'):
        Config.fromfile(child)


def training_checkpoint() -> dict[str, object]:
    from mmengine.logging import HistoryBuffer

    losses = HistoryBuffer([np.float64(2.0), np.float64(1.0)], [1, 1])
    return {
        'state_dict': {'weight': torch.ones(2)},
        'message_hub': {'log_scalars': {'loss': losses}, 'runtime_info': {'lr': np.float32(0.1)}},
    }


def test_training_resumes_from_mmengine_checkpoints(tmp_path) -> None:
    heal_host()
    torch.save(training_checkpoint(), tmp_path / 'epoch_1.pth')
    hub = torch.load(tmp_path / 'epoch_1.pth')['message_hub']
    assert hub['log_scalars']['loss'].statistics('mean') == 1.5
    assert hub['runtime_info']['lr'] == np.float32(0.1)


class ReachesOut:
    """Pickles to getattr(HistoryBuffer, '__init__'), a first step to anything in the process."""

    def __reduce__(self) -> tuple:
        from mmengine.logging import HistoryBuffer

        return getattr, (HistoryBuffer, '__init__')


def test_resuming_does_not_open_getattr_to_strangers(tmp_path) -> None:
    heal_host()
    torch.save({'state_dict': ReachesOut()}, tmp_path / 'evil.pth')
    with pytest.raises(Exception, match="attribute '__init__' of .*HistoryBuffer.*: refused"):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


@pytest.fixture
def transformers(tmp_path) -> Path:
    """A folder with a transformers recent enough for mmaction2 to want its multimodal models."""
    write_module(tmp_path, 'transformers', 'class Adafactor: pass')
    write_metadata(tmp_path, 'transformers', '4.57.6')
    return tmp_path


def test_transformers_alone_does_not_bring_mmaction_down(transformers) -> None:
    code = """
from sta.compat import heal_host
assert 'mmaction2 multimodal' in heal_host()
import mmaction.models, mmengine.runner, transformers
transformers.Adafactor  # left as it is
try:
    import mmaction.models.multimodal.vindlu
except ImportError:
    print('without healing, import mmaction.models would have failed')
"""
    run = run_python('-c', code, shadowed_by=transformers)
    assert run.returncode == 0, run.stderr
    assert 'without healing' in run.stdout


@pytest.mark.parametrize(
    'order',
    [
        'transformers, mmaction.models',
        pytest.param('mmaction.models, transformers', marks=pytest.mark.slow),
    ],
)
def test_the_real_transformers_runs_beside_mmaction(order) -> None:
    """Both orders of import; the fake above cannot tell what the real one does at import."""
    if importlib.util.find_spec('transformers') is None:
        pytest.skip('transformers is not installed')
    code = f"""
from sta.compat import heal_host
assert 'mmaction2 multimodal' in heal_host()
import {order}
transformers.VideoMAEForVideoClassification
assert mmaction.models.VisionTransformer
"""
    run = run_python('-c', code)
    assert run.returncode == 0, run.stderr


def test_importing_the_host_warns_of_nothing() -> None:
    code = 'from sta.compat import heal_host; heal_host(); import mmaction.models'
    run = run_python('-c', code)
    assert run.returncode == 0 and 'Warning' not in run.stderr, run.stderr


def test_only_the_known_warnings_are_silenced() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        heal_host()
        warnings.warn('Fail to import ``MultiScaleDeformableAttention`` from x', stacklevel=1)
        text = '`torch.cuda.amp.GradScaler(args...)` is deprecated.'
        warnings.warn(text, FutureWarning, stacklevel=1)
        warnings.warn('something new', FutureWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ['something new']
