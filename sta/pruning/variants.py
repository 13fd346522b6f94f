"""A variant: one way to run one model. Everything downstream takes a list of these.

They are made of what a config or a command line says, once.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sta.errors import VariantError

from .base import PRUNERS, build_pruner, short_names

UNPRUNED = 'unpruned'
# What a config says about a pruner that the pruner itself does not take.
_OF_THE_CONFIG = ('name', 'schedules')
# By class name of a pruner, what a backbone assumes of settings that are not given.
Defaults = Mapping[str, Mapping[str, Any]]
NO_DEFAULTS: Defaults = MappingProxyType({})


@dataclass(frozen=True)
class Variant:
    """A named pruner with a schedule.

    Args:
        name: what tables and files call it, e.g. 'sta-64'.
        pruner: settings of the pruner, e.g. dict(type='STAPruner'); None keeps the backbone's own.
        schedule: None, an int, a list of ints, a list of dicts, see PruningSchedule.parse.
        family: what plots join into one curve, e.g. 'sta'; '' for no pruning. Draws that differ in
            their seed alone are one family.
        label: what the schedule is called, e.g. '64'; '' for no pruning.
    """

    name: str
    pruner: Mapping[str, Any] | None = None
    schedule: Any = None
    family: str = ''
    label: str = ''


def expand_variants(
    schedules: Sequence[Any] | None,
    pruners: Sequence[Mapping[str, Any]],
    defaults: Defaults = NO_DEFAULTS,
) -> list[Variant]:
    """Every pruner at every schedule; dropping nothing is one variant whatever the pruner.

    Args:
        schedules: ints, lists of ints, lists of dicts, None, or dict(name=, schedule=).
        pruners: settings of pruners, dict(type=...) with an optional name, and with optional
            schedules of its own, which take the place of ``schedules``. A pruner that says itself
            how much it drops, such as run-length tokenization, makes one variant.
        defaults: of the backbone that is to run them, ``pruner_defaults``; names say what differs.

    Raises:
        VariantError: none given, or two variants of one name.
        PrunerError: settings that make no pruner.
    """
    _check_list('pruners', pruners)
    if not all(isinstance(pruner, Mapping) for pruner in pruners):
        raise VariantError(f'every pruner is settings, dict(type=..., ...), got {pruners!r}')
    chosen = [pruner.get('schedules', schedules) for pruner in pruners]
    for own in chosen:
        _check_list('schedules', own)
    variants = []
    # The common schedules say so even where every pruner has its own.
    if any(_drops_nothing(schedule) for own in (schedules or (), *chosen) for schedule in own):
        variants.append(Variant(UNPRUNED, None, None))
    for pruner, own in zip(pruners, chosen, strict=True):
        if amount := own_amount(pruner):
            variants.append(_amount_variant(pruner, amount, defaults))
            continue
        name = pruner_name(pruner, defaults)
        family = pruner_name({k: v for k, v in pruner.items() if k != 'seed'}, defaults)
        settings = {k: value for k, value in pruner.items() if k not in _OF_THE_CONFIG}
        for index, schedule in enumerate(own):
            if not _drops_nothing(schedule):
                label, value = _schedule_label(schedule, index)
                variants.append(Variant(f'{name}-{label}', settings, value, family, label))
    names = [variant.name for variant in variants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise VariantError(
            f'variants {twice} appear twice: drop one, or give it a name, dict(name=..., ...)'
        )
    return variants


def chosen_variants(
    test_cfg: Mapping[str, Any],
    *,
    schedules: Sequence[str] | None,
    pruners: Sequence[str] | None,
    defaults: Defaults = NO_DEFAULTS,
) -> list[Variant]:
    """Variants as typed on a command line, or where nothing was typed those of a config.

    Args:
        test_cfg: of the config; may say nothing of either.
        schedules: see :func:`parse_schedule_text`.
        pruners: see :func:`parse_pruner_text`.
        defaults: see :func:`expand_variants`.

    Raises:
        VariantError: as these and :func:`expand_variants` do.
    """
    return expand_variants(
        [parse_schedule_text(text) for text in schedules]
        if schedules
        else test_cfg.get('schedules', [0]),
        chosen_pruners(test_cfg, pruners),
        defaults,
    )


def chosen_pruners(
    test_cfg: Mapping[str, Any], pruners: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Pruners as typed on a command line, or else those of a config, or else STA."""
    if pruners:
        return [parse_pruner_text(text) for text in pruners]
    return test_cfg.get('pruners', [dict(type='STAPruner')])


def pruner_name(pruner: Mapping[str, Any], defaults: Defaults = NO_DEFAULTS) -> str:
    """Short name of a pruner, with what differs from its defaults in brackets.

    'sta' for dict(type='STAPruner'), 'temporal' for its score='temporal'. A seed that is given is
    named whatever it is, since draws are told apart by it.

    Args:
        pruner: settings; a name in them is taken as it is.
        defaults: see :func:`expand_variants`.
    """
    if 'name' in pruner:
        seed = f'[seed={pruner["seed"]}]' if 'seed' in pruner else ''
        return f'{pruner["name"]}{seed}'
    kind = str(pruner.get('type'))
    assumed = _assumed(kind, defaults)
    given = {k: v for k, v in pruner.items() if k not in ('type', *_OF_THE_CONFIG)}
    differing = {
        key: value
        for key, value in given.items()
        if key == 'seed' or key not in assumed or assumed[key] != value
    }
    name = kind
    if known := PRUNERS.get(kind):
        name = known.short_name
        for preset, settings in known.presets.items():
            if settings.items() <= differing.items():
                name = preset
                differing = {k: v for k, v in differing.items() if k not in settings}
                break
    extra = ','.join(f'{key}={value}' for key, value in differing.items())
    return f'{name}[{extra}]' if extra else name


def _assumed(kind: str, defaults: Defaults) -> dict[str, Any]:
    """What holds of a pruner's settings where nothing is said."""
    if kind not in PRUNERS:
        return {}
    own = inspect.signature(PRUNERS[kind]).parameters.values()
    return {p.name: p.default for p in own} | dict(defaults.get(kind, {}))


def with_seeds(pruners: Sequence[Mapping[str, Any]], num_seeds: int) -> list[dict[str, Any]]:
    """Every pruner that draws, once for each seed 0, 1, ...; those with a seed of their own stay.

    Args:
        pruners: settings.
        num_seeds: draws of each.

    Raises:
        VariantError: fewer than one seed, or no pruner that draws.
        PrunerError: settings that make no pruner.
    """
    if num_seeds < 1:
        raise VariantError(f'--seeds must be at least 1, got {num_seeds}')
    seeded = []
    for pruner in pruners:
        settings = {k: value for k, value in pruner.items() if k not in ('name', 'schedules')}
        draws = 'seed' not in settings and build_pruner(settings).draws
        seeds = [{'seed': seed} for seed in range(num_seeds)] if draws else [{}]
        seeded += [{**pruner, **seed} for seed in seeds]
    if not any('seed' in pruner for pruner in seeded):
        names = ', '.join(pruner_name(pruner) for pruner in pruners)
        raise VariantError(f'--seeds is for pruners that draw, such as random; got {names}')
    return seeded


def parse_schedule_text(text: str) -> Any:
    """A schedule as typed: 64, 48,96,192 (drops per chunk), or stages as Python or JSON has them.

    Stages are a list of dict(after_block=..., ...), of {'after_block': ...} or of JSON objects;
    dict(name=..., schedule=...) gives a schedule a name. Nothing typed is ever run.

    Raises:
        VariantError: anything else.
    """
    try:
        value = literal(text)
    except ValueError:
        value = text
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, dict):
        value = value if 'schedule' in value else [value] if 'after_block' in value else text
    if isinstance(value, list) and not (
        all(isinstance(item, int) for item in value) or all(isinstance(s, dict) for s in value)
    ):
        value = text
    if value is None or isinstance(value, int | list | dict) and not isinstance(value, bool):
        return value
    raise VariantError(
        f'schedule {text!r} is not understood: use a whole number such as 64, drops per chunk such '
        f'as 48,96,192, or quoted stages such as "[dict(after_block=0, num_chunks=8, '
        f'num_drop=64)]", also as JSON'
    )


def literal(text: str) -> Any:
    """The value of a literal as Python or JSON writes it, with dict(key=value) for dicts.

    Raises:
        ValueError: it is none.
    """
    try:
        return _value_of(ast.parse(text.strip(), mode='eval').body)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f'no literal: {text[:80]!r}') from error


_NAMES = {'true': True, 'false': False, 'null': None, 'none': None}


def _value_of(node: ast.expr) -> Any:
    """Of a syntax tree: nothing in it is called, names stand for truth values and nothing only."""
    match node:
        case ast.Dict(keys=keys, values=values) if None not in keys:
            named = [key for key in keys if key is not None]
            return {_value_of(k): _value_of(v) for k, v in zip(named, values, strict=True)}
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords) if all(
            keyword.arg for keyword in keywords
        ):
            return {keyword.arg: _value_of(keyword.value) for keyword in keywords}
        case ast.List(elts=items):
            return [_value_of(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value_of(item) for item in items)
        case ast.Name(id=name) if name.lower() in _NAMES:
            return _NAMES[name.lower()]
    return ast.literal_eval(node)


def parse_pruner_text(text: str) -> dict[str, Any]:
    """A pruner as typed: sta, random, ..., sta:score=temporal,seed=1, or quoted dict(type=...).

    Raises:
        VariantError: an unknown name, or a setting that is not key=value.
    """
    if text.lstrip().startswith(('dict(', '{')):
        return _pruner_of_literal(text)
    name, _, settings = text.partition(':')
    known = short_names()
    if name not in {*known, *PRUNERS}:
        raise VariantError(f'unknown pruner {name!r}; known are {", ".join(known)}')
    pruner = dict(known.get(name, {'type': name}))
    for part in filter(None, settings.split(',')):
        key, equals, value = part.partition('=')
        if not equals:
            raise VariantError(f'pruner {text!r}: expected key=value after the colon, got {part!r}')
        pruner[key] = _number_or_text(value)
    return pruner


def _pruner_of_literal(text: str) -> dict[str, Any]:
    try:
        pruner = literal(text)
    except ValueError:
        pruner = None
    if not isinstance(pruner, dict) or pruner.get('type') not in PRUNERS:
        known = ', '.join(sorted(PRUNERS))
        raise VariantError(f'pruner {text!r}: expected dict(type=..., ...) with a type of {known}')
    return pruner


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def own_amount(pruner: Mapping[str, Any]) -> str | None:
    """The setting that says how much a pruner drops, for those that take no schedule."""
    known = PRUNERS.get(str(pruner.get('type')))
    return None if known is None else known.amount


def _amount_variant(pruner: Mapping[str, Any], amount: str, defaults: Defaults) -> Variant:
    """The one variant of such a pruner."""
    settings = {k: value for k, value in pruner.items() if k not in _OF_THE_CONFIG}
    label = f'{getattr(build_pruner(settings), amount):g}'
    family = pruner_name({k: v for k, v in pruner.items() if k != amount}, defaults)
    return Variant(f'{family}-{label}', settings, None, family, label)


def _check_list(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not value:
        raise VariantError(f'{name} must be a list with at least one entry, got {value!r}')


def _drops_nothing(schedule: Any) -> bool:
    if isinstance(schedule, Mapping):
        schedule = schedule.get('schedule')
    if isinstance(schedule, list | tuple):
        return all(
            (item.get('num_drop') if isinstance(item, Mapping) else item) == 0 for item in schedule
        )
    return schedule is None or (schedule == 0 and not isinstance(schedule, bool))


def _schedule_label(schedule: Any, index: int) -> tuple[str, Any]:
    if isinstance(schedule, Mapping):
        if set(schedule) != {'name', 'schedule'}:
            raise VariantError(f'a named schedule is dict(name=, schedule=), got {dict(schedule)}')
        name = schedule['name']
        if not isinstance(name, str) or not name.isprintable() or not name.strip() or '/' in name:
            raise VariantError(
                f'the name of a schedule is a word for tables and files, got {name!r}'
            )
        return name, schedule['schedule']
    if isinstance(schedule, list | tuple):
        if all(isinstance(item, int) for item in schedule):
            return ','.join(map(str, schedule)), list(schedule)
        return f'schedule{index}', [
            dict(item) if isinstance(item, Mapping) else item for item in schedule
        ]
    return str(schedule), schedule
