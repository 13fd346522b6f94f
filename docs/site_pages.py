"""What the site makes at build time, so that it stands in the code and nowhere else a second time.

A Sphinx extension. Lines `<!-- made: NAME -->` of a page are replaced before it is parsed; on
GitHub, where nothing is made, the page shows the lines around them. The pages of the API below
docs/reference/api/ are written whole, one for every package of sta with an `__all__`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / 'docs' / 'reference' / 'api'
MARK = re.compile(r'^<!-- made: (.+) -->$', re.MULTILINE)
LINK = re.compile(r'\[([^][]+)]\(([^)#\s:]+)(#[^)\s]*)?\)')
# `ema_` at the end of a word would be a link in reStructuredText.
LOOSE_UNDERSCORE = re.compile(r'(?<![`\w])(\w+)_(?![`\w])')
FOLDERS = {'configs': 'docs/reference/configs.md', 'tools': 'docs/reference/tools.md'}


# ---------------------------------------------------------------- options of the tools


class _CapturedError(Exception):
    """Carries a parser out of the tool that was about to use it."""


def parser_of(tool: Path) -> argparse.ArgumentParser:
    """The parser of a tool, from a run that ends where it would read the command line.

    Raises:
        ExtensionError: where the tool never gets there.
    """

    def capture(parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        raise _CapturedError(parser)

    patches = [
        mock.patch.object(argparse.ArgumentParser, name, capture)
        for name in ('parse_args', 'parse_known_args')
    ]
    path = list(sys.path)
    try:
        with patches[0], patches[1], mock.patch.object(sys, 'argv', [str(tool)]):
            runpy.run_path(str(tool), run_name='__main__')
    except _CapturedError as captured:
        return captured.args[0]
    finally:
        sys.path[:] = path
    raise ExtensionError(f'{tool} reads no command line')


def tools_text() -> str:
    """Every tool with its description, usage and options, as Markdown."""
    tools = sorted((ROOT / 'tools').glob('*.py'))
    scripts = sorted((ROOT / 'tools').glob('*.sh'))
    return '\n'.join([*map(tool_text, tools), *map(_script_text, scripts)])


def tool_text(tool: Path) -> str:
    parser = parser_of(tool)
    parser.prog = f'python tools/{tool.name}'
    summary, _, details = (parser.description or '').strip().partition('\n')
    lines = [f'## {tool.name}', '', _escape(summary), '']
    if details.strip():
        lines += ['```', details.strip(), '```', '']
    own, *others = _groups(parser)
    for title, actions in [('argument or option', own[1]), *others]:
        if actions:
            lines += [f'| {title} | |', '|---|---|']
            lines += [_row(parser, action) for action in actions]
            lines.append('')
    return '\n'.join(lines)


def _groups(parser: argparse.ArgumentParser) -> list[tuple[str, list[argparse.Action]]]:
    """Titles and what is shown below them: arguments and options as one, then groups of a title."""
    groups: list[tuple[str, list[argparse.Action]]] = []
    for group in parser._action_groups:  # argparse offers no public way to its groups
        shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        shown = [action for action in shown if not isinstance(action, argparse._HelpAction)]
        groups.append((group.title or '', shown))
    (_, positional), (_, options), *others = groups
    return [('', positional + options), *others]


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    words = formatter._format_action_invocation(action)
    if not action.option_strings:
        # A metavar of its own would stand there in the plural: [SCHEDULE ...].
        words = formatter._format_args(action, action.metavar or action.dest)
    said = formatter._expand_help(action) if action.help else ''
    if action.required and action.option_strings:
        said = f'required; {said}' if said else 'required'
    return f'| `{words}` | {_escape(" ".join(said.split()))} |'.replace('||', '| |')


def _script_text(script: Path) -> str:
    head = script.read_text('utf-8').splitlines()[1:]
    comment = [line[2:] for line in _leading(head, '# ')]
    summary, *rest = comment
    if not rest or summary.startswith('What '):  # what two others share is nobody's command
        return ''
    return '\n'.join([f'## {script.name}', '', _escape(summary), '', '```', *rest, '```', ''])


# ---------------------------------------------------------------- configs


def configs_text() -> str:
    """Every config with its first comment and what it evaluates, as Markdown."""
    from mmengine.config import Config

    lines: list[str] = []
    for path in sorted((ROOT / 'configs').glob('*.py')):
        comment = [line[2:] for line in _leading(path.read_text('utf-8').splitlines(), '# ')]
        said = [line for line in comment if not line.startswith(' ')]
        commands = [line.strip() for line in comment if line.startswith(' ')]
        config = Config.fromfile(path)
        lines += [f'## {path.name}', '', re.sub(r':$', '.', _escape(' '.join(said))), '']
        lines += ['```', *commands, '```', '', '| | |', '|---|---|']
        lines += [f'| {name} | {value} |' for name, value in _facts(config)]
        lines += [f'| file | [configs/{path.name}](../../configs/{path.name}) |', '']
    return '\n'.join(lines)


def _facts(config: Any) -> Iterator[tuple[str, str]]:
    backbone = config.model.backbone
    yield 'backbone', f'`{backbone.type}`'
    if backbone.get('schedule') is not None:
        yield 'trained with schedule', f'`{backbone.schedule}`'
    if 'test_cfg' in config:
        yield 'schedules', ', '.join(f'`{r}`' for r in config.test_cfg.get('schedules', []))
        pruners = (
            ', '.join(f'{name}={value!r}' for name, value in pruner.items())
            for pruner in config.test_cfg.get('pruners', [])
        )
        yield 'pruners', ', '.join(f'`dict({settings})`' for settings in pruners)
    for part, name in (('train_dataloader', 'trains on'), ('test_dataloader', 'evaluates')):
        if part in config and 'ann_file' in config[part].dataset:
            yield name, f'`{_below_root(config[part].dataset.ann_file)}`'


def _below_root(path: str) -> str:
    """A path as it stands below the repository, whatever the config wrote."""
    whole = Path(path)
    return str(whole.resolve().relative_to(ROOT)) if whole.is_absolute() else path


# ---------------------------------------------------------------- the API


def rooms() -> Iterator[tuple[str, list[str]]]:
    """Packages of sta with the public names that no package before them has.

    A name that two of them export is described once, where it is nearest to the top.
    """
    known: set[str] = set()
    below = pkgutil.walk_packages(importlib.import_module('sta').__path__, 'sta.')
    packages = ['sta', *(info.name for info in below if info.ispkg)]
    for name in sorted(packages, key=lambda name: (name.count('.'), name)):
        module = importlib.import_module(name)
        words = {word: home_of(module, word) for word in getattr(module, '__all__', ())}
        fresh = [word for word, home in words.items() if home not in known]
        known.update(words.values())
        if fresh:
            yield name, fresh


def home_of(module: Any, word: str) -> str:
    """Where what a package offers under a name was made; a constant belongs to the package."""
    value = getattr(module, word)
    home = getattr(value, '__module__', module.__name__)
    return f'{home}.{getattr(value, "__qualname__", word)}'


def registered() -> Iterator[tuple[str, list[str]]]:
    """Registries of mmaction2 with the classes of sta that a config can name as `type`."""
    import mmaction.registry as theirs
    from mmengine.registry import Registry

    for info in pkgutil.walk_packages(importlib.import_module('sta').__path__, 'sta.'):
        if info.name.startswith(('sta.datasets', 'sta.engine', 'sta.models')):
            importlib.import_module(info.name)
    for name, registry in sorted(vars(theirs).items()):
        if isinstance(registry, Registry):
            ours = [c for c in registry.module_dict.values() if c.__module__.startswith('sta.')]
            if ours:
                yield name, sorted({f'{c.__module__}.{c.__qualname__}' for c in ours})


def write_api(app: Sphinx) -> None:
    """Write the pages of docs/reference/api/, and remove those of packages that are gone."""
    pages: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for name, words in rooms():
        module = importlib.import_module(name)
        for word in words:
            aliases[home_of(module, word)] = f'{name}.{word}'
        lines = [name, '=' * len(name), '', f'.. automodule:: {name}', '   :no-members:', '']
        for word in words:
            lines += _documented(module, word)
        pages[name] = '\n'.join(lines)
    pages['configs'] = _registered_page(aliases)
    app.config.site_aliases = aliases
    API.mkdir(exist_ok=True)
    for path in API.glob('*.rst'):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = API / f'{name}.rst'
        if not path.exists() or path.read_text('utf-8') != text:  # an equal one is not built again
            path.write_text(text, 'utf-8')


def _documented(module: Any, word: str) -> list[str]:
    value = getattr(module, word)
    if isinstance(value, type):
        kind = 'autoexception' if issubclass(value, BaseException) else 'autoclass'
        told = ['   :show-inheritance:'] if value.__bases__ not in ((object,), (tuple,)) else []
        return [f'.. {kind}:: {module.__name__}.{word}', *told, '']
    if callable(value):
        return [f'.. autofunction:: {module.__name__}.{word}', '']
    hidden = ['   :no-value:'] if len(repr(value)) > 60 else []
    return [f'.. autodata:: {module.__name__}.{word}', *hidden, '']


def _registered_page(aliases: dict[str, str]) -> str:
    title = 'Types that configs name'
    lines = [title, '=' * len(title), '']
    for registry, classes in registered():
        lines += [registry, '-' * len(registry), '']
        for name in classes:
            if name in aliases:
                lines += [f'* :py:class:`{aliases[name]}`', '']
            else:
                aliases[name] = name
                lines += [f'.. autoclass:: {name}', '']
    return '\n'.join(lines)


def api_text() -> str:
    """The list of the API's pages, with the first line of each package, as Markdown."""
    lines = ['| package | |', '|---|---|']
    names = []
    for name, _ in rooms():
        first = (importlib.import_module(name).__doc__ or '').strip().partition('\n')[0]
        lines.append(f'| [{name}](api/{name}.rst) | {first} |')
        names.append(f'{name} <api/{name}>')
    lines.append('| [types that configs name](api/configs.rst) | backbones, data sets, loops |')
    tree = ['```{toctree}', ':hidden:', '', *names, 'types that configs name <api/configs>', '```']
    return '\n'.join([*lines, '', *tree])


# ---------------------------------------------------------------- hooks


def navigation_text() -> str:
    """The site's navigation: headings and lists of links of docs/index.md, nothing else."""
    text = (ROOT / 'docs' / 'index.md').read_text('utf-8')
    trees = []
    for section in re.split(r'^## ', text, flags=re.MULTILINE)[1:]:
        links = re.findall(r'^- \[([^]]+)]\(([^)#]+)\.md\)', section, re.MULTILINE)
        if links:
            caption = section.partition('\n')[0]
            entries = [f'{said} <{target}>' for said, target in links]
            trees += ['```{toctree}', ':hidden:', f':caption: {caption}', '', *entries, '```', '']
    return '\n'.join(trees)


def titles() -> dict[str, str]:
    """What the navigation calls a page, by the page's path below the repository.

    A link that reads `costs.md` on GitHub, where files are looked for, has its page's name here.
    """
    text = (ROOT / 'docs' / 'index.md').read_text('utf-8')
    links = re.findall(r'^- \[([^]]+)]\(([^)#]+\.md)\)', text, re.MULTILINE)
    return {_page(Path('docs'), target): said for said, target in links}


def _page(folder: Path, target: str) -> str:
    return os.path.normpath(folder / target)


def section_text(page: str, heading: str) -> str:
    """The text below a heading of a page at the top of the repository, for a page of docs/."""
    text = (ROOT / page).read_text('utf-8')
    _, found, rest = text.partition(f'## {heading}\n')
    if not found:
        raise ExtensionError(f'{page} has no heading {heading!r}')
    section = re.split(r'^## ', rest, maxsplit=1, flags=re.MULTILINE)[0]
    return LINK.sub(lambda link: f'[{link[1]}](../{link[2]}{link[3] or ""})', section)


MADE: dict[str, Callable[..., str]] = {
    'tools': tools_text,
    'configs': configs_text,
    'api': api_text,
    'navigation': navigation_text,
    'section': section_text,
}


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put what is made at build time into a page, and lead links to folders to a page of theirs."""

    def made(mark: re.Match[str]) -> str:
        name, *words = mark[1].split(' | ')
        return MADE[name](*words)

    def led(link: re.Match[str]) -> str:
        folder = Path(app.env.doc2path(docname)).parent
        target = (folder / link[2]).resolve()
        if not target.is_dir():
            return link[0]
        below = target.relative_to(ROOT)
        page = FOLDERS.get(str(below)) or _page_of_package(below)
        if not page:
            return link[1]
        return f'[{link[1]}]({Path(*[".."] * len(Path(docname).parent.parts)) / page})'

    names = titles()

    def named(link: re.Match[str]) -> str:
        said = names.get(_page(Path(docname).parent, link[2])) if link[1].endswith('.md') else None
        return f'[{said or link[1]}]({link[2]}{link[3] or ""})'

    source[0] = LINK.sub(named, LINK.sub(led, MARK.sub(made, source[0])))


def _page_of_package(folder: Path) -> str:
    """The page of a folder's package, or of the nearest above it, which offers its names then."""
    for package in (folder, *folder.parents):
        path = API / f'{".".join(package.parts)}.rst'
        if path.is_file():
            return str(path.relative_to(ROOT))
    return ''


def find_reference(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Lead a name to where the site describes it; leave text where it is there but not public.

    A name that is nowhere stays a missing reference, on which a strict build fails.
    """
    target = node.get('reftarget', '')
    if node.get('refdomain') != 'py':
        return None
    public = app.config.site_aliases.get(target)
    if public and public != target:
        domain = env.get_domain('py')
        return domain.resolve_xref(env, node['refdoc'], app.builder, 'obj', public, node, content)
    return content if target.startswith('sta.') and _exists(target) else None


def _exists(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def skip_tuple_field(
    app: Sphinx, what: str, name: str, value: object, skip: bool, options: object
) -> bool | None:
    """Leave the fields of named tuples to the docstrings of their classes."""
    return True if type(value).__name__ == '_tuplegetter' else None


def settle_docstring(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Take the docstrings as the plain text they are, and no value's for that of its type."""
    if what == 'data' and value.__doc__ == type(value).__doc__:
        lines.clear()
    lines[:] = [LOOSE_UNDERSCORE.sub(r'\1\_', line) for line in lines]


def set_dashes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Set a dash between a parameter and what is said of it; elsewhere -- begins an option."""
    for text in list(doctree.findall(nodes.Text)):
        if text == ' -- ':
            text.parent.replace(text, nodes.Text(' \N{EN DASH} '))


def lead_home(app: Sphinx, error: Exception | None) -> None:
    """Let the site's top folder open its first page."""
    if error is None and app.builder.name == 'html':
        page = f'{app.config.root_doc}.html'
        refresh = f'<meta http-equiv="refresh" content="0; url={page}">'
        text = f'<!doctype html>{refresh}<title>sta</title><a href="{page}">sta</a>'
        (Path(app.outdir) / 'index.html').write_text(text, 'utf-8')


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the hooks."""
    for field in PyObject.doc_field_types:
        if field.name == 'variable':
            field.label = 'Attributes'
    app.add_config_value('site_aliases', {}, '')
    app.connect('builder-inited', write_api)
    app.connect('source-read', fill)
    app.connect('autodoc-skip-member', skip_tuple_field)
    app.connect('autodoc-process-docstring', settle_docstring)
    app.connect('missing-reference', find_reference)
    app.connect('doctree-resolved', set_dashes)
    app.connect('build-finished', lead_home)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}


def _escape(text: str) -> str:
    """Text that Markdown and a cell of its tables leave alone."""
    return re.sub(r'([\\`*_\[\]<>|{}$])', r'\\\1', text)


def _leading(lines: list[str], start: str) -> Iterator[str]:
    for line in lines:
        if not line.startswith(start):
            return
        yield line
