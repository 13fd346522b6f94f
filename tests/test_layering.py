"""The direction of dependencies and a few rules of the house, read from the source."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from sta.doctor.packages import PACKAGES
from tests.fake_packages import run_python

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / 'sta').rglob('*.py'))
TOOLS = sorted((ROOT / 'tools').glob('*.py'))

# A room of sta/ may import rooms of its own or a lower storey; a room not named here has no place.
STOREYS = {
    0: {'__init__', 'errors', 'atomic', 'environment'},
    1: {'pruning', 'start', 'repair'},
    2: {'datasets', 'evaluation', 'checkpoints', 'compat'},
    3: {'models'},
    4: {'analysis', 'hosts'},
    5: {'engine'},
    6: {'visualization'},
    7: {'report'},
    8: {'paper', 'search', 'sweeps', 'export', 'doctor'},
}
STOREY = {room: storey for storey, rooms in STOREYS.items() for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / 'sta').parts[0].removesuffix('.py')


def imported_modules(path: Path) -> set[str]:
    """Absolute names of everything a file imports, inside functions too."""
    package = path.relative_to(ROOT).with_suffix('').parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = '.'.join([*base, *([node.module] if node.module else [])])
            # `from sta import x` imports a room, `from sta.x import y` one of its names
            names |= {f'sta.{a.name}' for a in node.names} if module == 'sta' else {module}
    return names


def imported_rooms(path: Path) -> set[str]:
    parts = (name.split('.') for name in imported_modules(path))
    rooms = {part[1] for part in parts if part[0] == 'sta' and len(part) > 1}
    return (rooms & set(STOREY)) - {room_of(path)}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize('path', SOURCES, ids=name_of)
def test_arrows_point_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in STOREY, f'sta/{room} has no storey: give it one in STOREYS'
    for other in imported_rooms(path):
        assert STOREY[other] <= STOREY[room], f'{room} must not import {other}'


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        graph.setdefault(room_of(path), set()).update(imported_rooms(path))
    assert set(TopologicalSorter(graph).static_order()) >= {'pruning', 'compat'}


def test_the_idea_stands_on_torch_and_einops_alone() -> None:
    allowed = {'torch', 'einops', *sys.stdlib_module_names}
    for path in (ROOT / 'sta' / 'pruning').rglob('*.py'):
        for module in imported_modules(path):
            inside = f'{module}.'.startswith(('sta.pruning.', 'sta.errors.'))
            assert inside or module.split('.')[0] in allowed, f'{name_of(path)} imports {module}'


def test_every_import_is_a_declared_requirement() -> None:
    # cv2 comes with mmengine and mmaction2, which differ in the wheel they ask for; matplotlib
    # requires pillow
    others = {'cv2', 'PIL', 'sta', *sys.stdlib_module_names}
    # what `pip install sta[export]` brings; sta.export imports it where it is needed
    optional = {'onnx', 'onnxruntime', 'onnxscript'}
    declared = {package.module for package in PACKAGES} | optional | others
    for path in [*SOURCES, *TOOLS]:
        foreign = {module.split('.')[0] for module in imported_modules(path)} - declared
        assert not foreign, f'{name_of(path)} imports {foreign}: not in requirements.txt'


def test_importing_sta_imports_nothing_heavy() -> None:
    assert imported_modules(ROOT / 'sta' / '__init__.py') <= {'__future__', 'importlib'}
    heavy = "{'torch', 'numpy', 'mmengine', 'mmaction', 'transformers'} & set(sys.modules)"
    assert run_python('-c', f'import sta, sys; print({heavy})').stdout == 'set()\n'


def test_pruning_a_model_of_transformers_imports_neither_it_nor_mmaction2() -> None:
    heavy = "{'mmcv', 'mmaction', 'transformers', 'timm'} & set(sys.modules)"
    assert run_python('-c', f'import sta, sys; sta.apply; print({heavy})').stdout == 'set()\n'


@pytest.mark.parametrize('path', SOURCES, ids=name_of)
def test_no_argument_passes_unseen(path: Path) -> None:
    """No **kwargs; **__ is allowed: it drops what a host sends and passes nothing on."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        kwarg = node.args.kwarg if isinstance(node, functions) else None
        if kwarg is not None and kwarg.arg.strip('_'):
            name = getattr(node, 'name', 'lambda')
            pytest.fail(f'line {node.lineno}: {name} takes **{kwarg.arg}')


def main_function(path: Path) -> ast.FunctionDef | None:
    """The main of a tool, followed to the module of sta it is imported from."""
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.FunctionDef) and node.name == 'main':
            return node
        if isinstance(node, ast.ImportFrom) and 'main' in [alias.name for alias in node.names]:
            base = path.parent if node.level else ROOT
            target = base.joinpath(*(node.module or '').split('.'))
            file = target.with_suffix('.py')
            return main_function(file if file.exists() else target / '__init__.py')
    return None


@pytest.mark.parametrize('path', TOOLS, ids=name_of)
def test_every_tool_can_be_called_from_python(path: Path) -> None:
    function = main_function(path)
    assert function is not None, f'{name_of(path)} has no main'
    assert [argument.arg for argument in function.args.args] == ['argv']
    [default] = function.args.defaults
    assert isinstance(default, ast.Constant) and default.value is None


def test_no_file_is_named_after_nothing() -> None:
    for folder in ('sta', 'tools', 'tests', 'configs'):
        for path in (ROOT / folder).rglob('*.py'):
            parts = {part.removesuffix('.py').lower() for part in path.relative_to(ROOT).parts}
            assert not parts & {'utils', 'util', 'helpers', 'helper', 'misc', 'common'}, path


def test_pruning_another_model_needs_torch_and_einops_alone() -> None:
    """Everything else that requirements.txt asks for may be missing, numpy among it."""
    others = {package.module for package in PACKAGES} - {'torch', 'einops'}
    assert {'numpy', 'mmengine', 'mmcv', 'mmaction', 'decord'} <= others
    code = f"""
import sys
from tests.fake_packages import Hider
sys.meta_path.insert(0, Hider(*{others!r}, 'cv2'))
import torch, sta
from tests.hosts.timm_standin import VisionTransformer

sizes = dict(img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=5)
model = VisionTransformer(**sizes, qkv_bias=True, class_token=False, global_pool='avg').eval()
frames = torch.rand(8, 3, 32, 32)
with torch.no_grad(), sta.pruned(model, schedule=4, num_frames=4) as run:
    model(frames)
print([tuple(kept.shape) for kept in run.kept], {others!r} & set(sys.modules))
for part in ('engine', 'models'):
    try:
        __import__('sta.' + part)
    except ImportError as error:
        print(error)
"""
    run = run_python('-W', 'ignore', '-c', code)
    assert run.returncode == 0, run.stderr
    said = run.stdout.splitlines()
    assert said[0] == '[(2, 48), (2, 40), (2, 36)] set()'
    assert 'sta.engine needs cv2, mmengine, mmcv, mmaction, decord, av' in said[1]
    assert 'pip install ".[all]"' in said[1]
    assert 'mmaction' in said[2] and 'install' in said[2]
