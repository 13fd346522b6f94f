"""Every work-around for a host library (mmaction2, mmengine, mmcv, torch), in one place.

Call heal_host() before the first import of mmaction or mmengine.runner. It looks at what is really
installed, mends only what is broken, writes nothing to site-packages, and can be called any number
of times. `python -m sta.doctor` lists which of these are in force.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from sta.errors import HostError

from .environment import distribution_folder, distribution_version, module_folder, satisfies
from .repair import (
    HOST_REQUIREMENTS,
    MMCV_RANGE,
    install,
    numpy_requirement,
    opencv_requirements,
    opencv_wheels,
    pip_command,
    reinstall,
    repair_opencv,
    replace_distributions,
)

DRN_PACKAGE = 'mmaction.models.localizers.drn'
HOST_MODULES = ('torch', 'cv2', 'mmengine', 'mmcv', 'mmaction')
NO_DESKTOP = ('libGL', 'libgthread', 'libglib')


@dataclass(frozen=True)
class Workaround:
    """One defect of a host library and the way round it.

    Attributes:
        name: short and unique, as the doctor prints it.
        defect: what fails without it, in which versions.
        source: where it is reported.
        until: when this entry can be deleted.
        needed: whether the installed versions have the defect; imports nothing heavy.
        apply: mends it for this process; a second call changes nothing.
    """

    name: str
    defect: str
    source: str
    until: str
    needed: Callable[[], bool]
    apply: Callable[[], None]


def refuse_missing(needed_by: str, *modules: str) -> None:
    """Say in one line what a part of sta needs beyond what `pip install .` brings.

    Args:
        needed_by: the part, such as 'sta.engine'.
        modules: what it imports.

    Raises:
        HostError: one of them is not installed; names all that are not.
    """
    missing = [module for module in modules if module_folder(module) is None]
    if missing:
        raise HostError(
            f'{needed_by} needs {", ".join(missing)}, not installed here (a plain installation '
            f'brings what sta.apply needs). Mend: make install, or in a clone of the project '
            + pip_command('install ".[all]"')
        )


def heal_host() -> tuple[str, ...]:
    """Apply the work-arounds that the installed libraries need.

    Returns:
        Names of the work-arounds in force, in the order of WORKAROUNDS.

    Raises:
        HostError: a library is missing, refused by mmaction2, or does not import for lack of a
            system library or whole files; the message holds the command that mends it.
    """
    _refuse_missing_hosts()
    _refuse_unsupported_mmcv()
    _refuse_broken_opencv()
    in_force = [workaround for workaround in WORKAROUNDS if workaround.needed()]
    for workaround in in_force:
        workaround.apply()
    return tuple(workaround.name for workaround in in_force)


def _refuse_unsupported_mmcv() -> None:
    # mmcv and mmcv-lite are two distributions of one module; mmaction2's own assertion would be
    # a traceback in the middle of an import.
    for distribution in ('mmcv', 'mmcv-lite'):
        version = distribution_version(distribution)
        if version is not None and not satisfies(version, MMCV_RANGE):
            raise HostError(
                f'{distribution} {version} is installed, but mmaction2 1.2.0 refuses anything '
                f'outside {MMCV_RANGE}. Mend: {repair_mmcv()}'
            )


def repair_mmcv() -> str:
    """The command that leaves one mmcv that mmaction2 takes: mmcv-lite, which needs no compiler."""
    requirement = HOST_REQUIREMENTS['mmcv']
    installed = [name for name in ('mmcv', 'mmcv-lite') if distribution_version(name)]
    if installed == ['mmcv-lite']:
        return install(requirement)
    return replace_distributions(requirement, *installed)


def _refuse_missing_hosts() -> None:
    missing = [module for module in HOST_MODULES if module_folder(module) is None]
    if missing == ['cv2'] and opencv_wheels():
        return  # its wheels are there and its files are not: another command brings those back
    if missing:
        wanted = [HOST_REQUIREMENTS[module] for module in missing if module in HOST_REQUIREMENTS]
        opencv = opencv_requirements() if 'cv2' in missing else ()
        raise HostError(f'not installed: {", ".join(missing)}. Mend: {install(*wanted, *opencv)}')


def _refuse_broken_opencv() -> None:
    # mmcv imports both anyway
    for name, find_fault in (('numpy', numpy_fault), ('OpenCV', opencv_fault)):
        fault, command = find_fault()
        if fault:
            raise HostError(f'{name} does not import ({fault}). Mend: {command}')


def import_whole(module: str) -> ModuleType:
    """Import a package; what half an uninstall leaves of it is an ImportError like the others."""
    imported = importlib.import_module(module)
    root = module.partition('.')[0]
    if getattr(sys.modules[root], '__file__', None) is None:
        raise ImportError(f'{root} is half removed: its folder has no __init__.py')
    return imported


def first_line(error: BaseException) -> str:
    """Name and first line of an error, short enough for a table."""
    text = (str(error).strip().splitlines() or [''])[0]
    return f'{type(error).__name__}: {text}'[:200] if text else type(error).__name__


def numpy_fault() -> tuple[str, str]:
    """Why numpy cannot be used, and the command that repairs it; two empty texts where it can."""
    try:
        import_whole('numpy')
    except (Exception, SystemExit) as error:
        if distribution_version('numpy'):
            return first_line(error), reinstall('numpy')
        return first_line(error), install(numpy_requirement())
    return '', ''


def opencv_fault() -> tuple[str, str]:
    """Why OpenCV cannot be used, and the command that repairs it; two empty texts where it can.

    Its wheels share one folder, so removing one of them takes the others' files along; the usual
    wheels need a desktop's libraries; those of before 2024 do not import with numpy 2.
    """
    try:
        import_whole('cv2')
    except (Exception, SystemExit) as error:
        fault = first_line(error)
        if not opencv_wheels():
            return fault, install(*opencv_requirements())
        if any(library in fault for library in NO_DESKTOP):
            fault += '; as root on Debian or Ubuntu also: apt-get install -y libgl1 libglib2.0-0'
            return fault, repair_opencv(headless=True)
        return fault, repair_opencv(rebuild=blames_numpy(error))
    return '', ''


def blames_numpy(error: BaseException) -> bool:
    """Whether an import failed because the package was built for another numpy."""
    return 'numpy' in str(error) or '_ARRAY_API' in str(error)


def _torch_is(specifiers: str) -> bool:
    version = distribution_version('torch')
    return version is not None and satisfies(version, specifiers)


# --- mmaction2 --------------------------------------------------------------------------------


def _drn_is_missing() -> bool:
    mmaction = module_folder('mmaction')
    return mmaction is not None and not (mmaction / 'models' / 'localizers' / 'drn').is_dir()


def _stub_drn() -> None:
    if DRN_PACKAGE in sys.modules:
        return

    class DRN:
        """Placeholder for mmaction2's temporal localizer, whose code its wheel lacks."""

        def __init__(self) -> None:
            raise HostError('the mmaction2 1.2.0 wheel lacks DRN; install mmaction2 from source')

    package = ModuleType(DRN_PACKAGE, 'Stand-in put here by sta.compat.')
    package.__path__ = []
    module = ModuleType(f'{DRN_PACKAGE}.drn', 'Stand-in put here by sta.compat.')
    for owner, name, value in (
        (module, 'DRN', DRN),
        (package, 'DRN', DRN),
        (package, 'drn', module),
    ):
        setattr(owner, name, value)
    sys.modules[package.__name__] = package
    sys.modules[module.__name__] = module


def _importlib_metadata_is_missing() -> bool:
    return module_folder('importlib_metadata') is None


def _alias_importlib_metadata() -> None:
    # The two names mmaction2 takes from the back-port are the standard library's own.
    sys.modules.setdefault('importlib_metadata', importlib.metadata)


def _transformers_is_installed() -> bool:
    return module_folder('transformers') is not None


def _skip_multimodal_models() -> None:
    if 'mmaction.models' in sys.modules:
        return
    from mmaction.utils import dependency

    dependency.WITH_MULTIMODAL = False


# --- mmengine ---------------------------------------------------------------------------------


def _mmengine_needs_pkg_resources() -> bool:
    mmengine = module_folder('mmengine')
    if mmengine is None or module_folder('pkg_resources') is not None:
        return False
    return 'pkg_resources' in (mmengine / 'utils' / 'package_utils.py').read_text(encoding='utf-8')


def _replace_package_lookup() -> None:
    from mmengine.config import config

    config.is_installed = _is_installed
    config.get_installed_path = distribution_folder


def _is_installed(package: str) -> bool:
    try:
        return bool(distribution_folder(package))
    except ModuleNotFoundError:
        return False


def _resume_is_refused() -> bool:
    return _torch_is('>=2.6')


def _allow_logs_in_checkpoints() -> None:
    import torch

    torch.serialization.add_safe_globals(_log_types())


def _log_types() -> list[Any]:
    """What mmengine stores beside weights, as torch's allow-list wants it: data holders only."""
    import numpy as np
    from mmengine.logging.history_buffer import HistoryBuffer

    # Taken from values, because numpy 1 and numpy 2 keep them in modules of different names.
    rebuild_scalar = np.float64(0).__reduce__()[0]
    rebuild_array = np.zeros(1).__reduce__()[0]
    return [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        *{type(np.dtype(code)) for code in ('f8', 'f4', 'i8', 'i4', '?')},
        (_history_statistic, 'builtins.getattr'),
        (rebuild_scalar, 'numpy.core.multiarray.scalar'),
        (rebuild_scalar, 'numpy._core.multiarray.scalar'),
        (rebuild_array, 'numpy.core.multiarray._reconstruct'),
        (rebuild_array, 'numpy._core.multiarray._reconstruct'),
    ]


def _history_statistic(owner: type, name: str) -> Any:
    """The only use of getattr in mmengine's checkpoints: HistoryBuffer's own statistics.

    Allowing the real getattr would let a file reach anything in the process.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(HistoryBuffer, name)
    raise ValueError(f'a checkpoint asked for attribute {name!r} of {owner!r}: refused')


# --- start-up ---------------------------------------------------------------------------------


def _put_off_slow_imports() -> None:
    """Import what asks for transformers and scipy.stats with stand-ins in their places."""
    stats = ModuleType('scipy.stats', 'Stand-in put here by sta.compat.')
    vars(stats)['mode'] = _mode
    with _standing_in('transformers', None):  # mmengine takes its absence for an answer
        importlib.import_module('mmengine.optim')
    with _standing_in('scipy.stats', stats):
        importlib.import_module('mmaction.datasets.transforms')


@contextmanager
def _standing_in(name: str, module: ModuleType | None) -> Iterator[None]:
    """A module, or none, under a name that nobody has imported yet, until the block ends."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module  # type: ignore[assignment]  # None: no such module
    try:
        yield
    finally:
        del sys.modules[name]


def _mode(values: Any, keepdims: bool = False) -> Any:
    """scipy.stats.mode, for mmaction2's transforms of skeletons."""
    from scipy import stats

    return stats.mode(values, keepdims=keepdims)


def register_adafactor() -> None:
    """What mmengine registers of transformers where it can be imported, put off until asked for."""
    from mmengine.registry import OPTIMIZERS

    if OPTIMIZERS.get('Adafactor') is None and _transformers_is_installed():
        adafactor = importlib.import_module('transformers').Adafactor
        OPTIMIZERS.register_module(name='Adafactor', module=adafactor)


# --- noise ------------------------------------------------------------------------------------


def _silence_known_warnings() -> None:
    # mmcv-lite says so at every import; the operator it lacks is for detection models.
    warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
    # mmengine's AMP wrapper uses the old name of torch's GradScaler; same class, same result.
    warnings.filterwarnings(
        'ignore', r'`torch\.cuda\.amp\.GradScaler\(args\.\.\.\)` is deprecated', FutureWarning
    )
    # mmengine <= 0.10.7 with setuptools 67 to 81, when a config inherits from `mmaction::...`.
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated as an API')


WORKAROUNDS = (
    Workaround(
        name='mmaction2 DRN',
        defect='the mmaction2 1.2.0 wheel lacks models/localizers/drn, so mmaction.models fails',
        source='github.com/open-mmlab/mmaction2/issues/2714',
        until='an mmaction2 release whose wheel holds the folder',
        needed=_drn_is_missing,
        apply=_stub_drn,
    ),
    Workaround(
        name='importlib_metadata',
        defect='mmaction2 1.2.0 imports importlib_metadata without requiring it',
        source='mmaction/utils/dependency.py',
        until='mmaction2 declares it or uses importlib.metadata',
        needed=_importlib_metadata_is_missing,
        apply=_alias_importlib_metadata,
    ),
    Workaround(
        name='mmaction2 multimodal',
        defect='with transformers installed, import mmaction.models also wants timm and a '
        'transformers of 2023, for models not used here',
        source='mmaction/models/multimodal/vindlu/temporal_model.py',
        until='mmaction2 imports its multimodal models only on demand',
        needed=_transformers_is_installed,
        apply=_skip_multimodal_models,
    ),
    Workaround(
        name='mmengine pkg_resources',
        defect="_base_ = 'mmaction::...' needs pkg_resources, gone from setuptools >= 82",
        source='github.com/open-mmlab/mmengine/pull/1676',
        until='an mmengine release above 0.10.7',
        needed=_mmengine_needs_pkg_resources,
        apply=_replace_package_lookup,
    ),
    Workaround(
        name='mmengine resume',
        defect='torch >= 2.6 refuses the logs in mmengine checkpoints, so training cannot resume',
        source='github.com/open-mmlab/mmengine/issues/1655',
        until='an mmengine release that allows its own types',
        needed=_resume_is_refused,
        apply=_allow_logs_in_checkpoints,
    ),
    Workaround(
        name='slow imports',
        defect='1.5 s of every start go to transformers, for one optimizer of mmengine, and to '
        'scipy.stats, for skeletons of mmaction2',
        source='optim/optimizer/builder.py of mmengine, pose_transforms.py of mmaction2',
        until='they import them where they use them',
        needed=lambda: True,
        apply=_put_off_slow_imports,
    ),
    Workaround(
        name='known warnings',
        defect='harmless warnings at import hide the ones that matter',
        source='see _silence_known_warnings',
        until='each with the release named beside it',
        needed=lambda: True,
        apply=_silence_known_warnings,
    ),
)
