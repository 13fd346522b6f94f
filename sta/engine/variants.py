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
    """A schedule as typed: 64, or 48,96,192 (drops per chunk), or a list of dicts in Python syntax.

    Raises:
        VariantError: anything else.
    """
    if text.strip().lower() == 'none':
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, int | list) and not isinstance(value, bool):
        return value
    raise VariantError(
        f'schedule {text!r} is not understood: use a whole number such as 64, drops per chunk such '
        f'as 48,96,192, or a list of dict(after_block=, num_chunks=, num_drop=, backward=)'
    )


def parse_pruner_text(text: str) -> dict[str, Any]:
    """A pruner as typed: sta, random, tome, temporal, ..., or sta:score=temporal,first_frame=grid.

    Raises:
        VariantError: an unknown name, or a setting that is not key=value.
    """
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
        return str(schedule['name']), schedule['schedule']
    if isinstance(schedule, list | tuple):
        if all(isinstance(item, int) for item in schedule):
            return ','.join(map(str, schedule)), list(schedule)
        return f'schedule{index}', [
            dict(item) if isinstance(item, Mapping) else item for item in schedule
        ]
    return str(schedule), schedule
