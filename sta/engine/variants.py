"""From what a config or a command line says to a list of variants."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sta.pruning import Variant

SHORT_NAMES = {
    'sta': 'STAPruner',
    'random': 'RandomPruner',
    'tube-random': 'TubeRandomPruner',
    'tome': 'ToMeMergePruner',
    'tome-drop': 'ToMeDropPruner',
    'rlt': 'RunLengthPruner',
    'vid-tldr': 'SaliencyMergePruner',
}
_FAMILIES = {long: short for short, long in SHORT_NAMES.items()}
# The halves of STA's score: only A, and only 1 - F.
SETTINGS = {
    'temporal': dict(type='STAPruner', score='temporal'),
    'semantic': dict(type='STAPruner', score='semantic'),
}
UNPRUNED = 'unpruned'
# What a config says about a pruner that the pruner itself does not take.
_OF_THE_CONFIG = ('name', 'schedules')


class VariantError(ValueError):
    """A pruner or schedule that cannot be understood; the message says what can."""


def expand_variants(
    schedules: Sequence[Any] | None, pruners: Sequence[Mapping[str, Any]]
) -> list[Variant]:
    """Every pruner at every schedule; dropping nothing is one variant whatever the pruner.

    Args:
        schedules: ints, lists of ints, lists of dicts, None, or dict(name=, schedule=).
        pruners: settings of pruners, dict(type=...) with an optional name, and with optional
            schedules of its own, which take the place of ``schedules``. A pruner that says itself
            how much it drops, such as run-length tokenization, makes one variant.

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
            variants.append(_amount_variant(pruner, amount))
            continue
        name = pruner_name(pruner)
        family = pruner_name({key: value for key, value in pruner.items() if key != 'seed'})
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
    test_cfg: Mapping[str, Any], *, schedules: Sequence[str] | None, pruners: Sequence[str] | None
) -> list[Variant]:
    """Variants as typed on a command line, or where nothing was typed those of a config.

    Args:
        test_cfg: of the config; may say nothing of either.
        schedules: see :func:`parse_schedule_text`.
        pruners: see :func:`parse_pruner_text`.

    Raises:
        VariantError: as these and :func:`expand_variants` do.
    """
    return expand_variants(
        [parse_schedule_text(text) for text in schedules]
        if schedules
        else test_cfg.get('schedules', [0]),
        chosen_pruners(test_cfg, pruners),
    )


def chosen_pruners(
    test_cfg: Mapping[str, Any], pruners: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Pruners as typed on a command line, or else those of a config, or else STA."""
    if pruners:
        return [parse_pruner_text(text) for text in pruners]
    return test_cfg.get('pruners', [dict(type='STAPruner')])


def pruner_name(pruner: Mapping[str, Any]) -> str:
    """'sta' for dict(type='STAPruner'), with settings that differ from the default in brackets."""
    if 'name' in pruner:
        seed = f'[seed={pruner["seed"]}]' if 'seed' in pruner else ''
        return f'{pruner["name"]}{seed}'
    kind = str(pruner.get('type'))
    short = _FAMILIES.get(kind, kind)
    defaults = dict(first_frame='tome', similarity='key', score='product')
    for name, settings in SETTINGS.items():
        if {key: value for key, value in pruner.items() if key != 'schedules'} == settings:
            return name
    extra = [
        f'{key}={value}'
        for key, value in pruner.items()
        if key not in ('type', *_OF_THE_CONFIG) and defaults.get(key) != value
    ]
    return f'{short}[{",".join(extra)}]' if extra else short


def with_seeds(pruners: Sequence[Mapping[str, Any]], num_seeds: int) -> list[dict[str, Any]]:
    """Every pruner that draws, once for each seed 0, 1, ...; those with a seed of their own stay.

    Args:
        pruners: settings.
        num_seeds: draws of each.

    Raises:
        VariantError: fewer than one seed, or no pruner that draws.
        PrunerError: settings that make no pruner.
    """
    from sta.registry import build_pruner

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
            return {_value_of(k): _value_of(v) for k, v in zip(keys, values, strict=True)}
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
    if name not in {*SHORT_NAMES, *SETTINGS, *_known_types()}:
        known = ', '.join((*SHORT_NAMES, *SETTINGS))
        raise VariantError(f'unknown pruner {name!r}; known are {known}')
    pruner: dict[str, Any] = dict(SETTINGS.get(name, dict(type=SHORT_NAMES.get(name, name))))
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
    if not isinstance(pruner, dict) or pruner.get('type') not in _known_types():
        known = ', '.join(_known_types())
        raise VariantError(f'pruner {text!r}: expected dict(type=..., ...) with a type of {known}')
    return pruner


def _known_types() -> Iterable[str]:
    from sta.registry import PRUNERS

    return PRUNERS.module_dict


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def own_amount(pruner: Mapping[str, Any]) -> str | None:
    """The setting that says how much a pruner drops, for those that take no schedule."""
    from sta.registry import PRUNERS

    return getattr(PRUNERS.module_dict.get(pruner.get('type')), 'amount', None)


def _amount_variant(pruner: Mapping[str, Any], amount: str) -> Variant:
    """The one variant of such a pruner."""
    from sta.registry import build_pruner

    settings = {k: value for k, value in pruner.items() if k not in _OF_THE_CONFIG}
    label = f'{getattr(build_pruner(settings), amount):g}'
    family = pruner_name({k: value for k, value in pruner.items() if k != amount})
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
