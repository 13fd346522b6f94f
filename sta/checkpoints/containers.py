"""Which weights of a file are meant: containers, averaged copies, and what lies beside them.

Files of a training often hold the weights twice, as trained and averaged (EMA, SWA). Taken are
those under the usual name of a container; that there are others is always said, see
:attr:`Contents.notes`, and others are taken only where somebody asks for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sta.errors import CheckpointError

from .diagnosis import refuse_other_forms, what_else
from .errors import listed, several_models
from .naming import recognise, unwrapped

CONTAINERS = ('state_dict', 'model', 'module', 'model_state_dict')
_AVERAGED = re.compile(
    r'(?:(?<![a-z])(?:ema|Ema|swa|averaged|average_model|avg_model|shadow)|EMA|SWA)(?![a-z])'
)
# Files hold weights three containers deep at most: 'callbacks', the name of one, its own key.
_DEPTH = 3
_BUFFER = 'ema_'
_OTHERS = '; tools/convert_checkpoint.py --take {} writes those'

Path = tuple[Any, ...]


class Contents(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        tensors: names as in the file, tensors on the CPU.
        beside: names of what is stored beside them, such as 'optimizer'; not read.
        notes: which of several sets of weights these are; nothing to say for most files.
    """

    tensors: dict[str, Tensor]
    beside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_tensors(content: Any, where: str, take: str | None = None) -> Contents:
    """Unwrap containers until a mapping of tensors appears.

    Args:
        content: as read from a file.
        where: file, for messages.
        take: the weights that are meant where there are several: keys of containers, separated by
            dots ('model_ema'), or how their names begin ('teacher.').

    Raises:
        CheckpointError: there is none, there are several and none is the usual one, or they are
            no plain weights (an adapter, quantised, split among processes).
    """
    if take is not None:
        return _asked_for(content, where, take)
    path = _path_to_weights(content, where)
    held = _at(content, path)
    refuse_other_forms(held, where)
    tensors = _tensors_in(held)
    others = list(_other_weights(content, path))
    raw, notes = _without_averaged(tensors)
    return Contents(
        raw,
        tuple(_beside(content, path, others)),
        (*_notes(content, path, others), *notes),
    )


def _path_to_weights(content: Any, where: str) -> Path:
    """The keys that lead to the weights; () where they are on top."""
    top = content
    path: Path = ()
    while isinstance(content, Mapping) and len(path) <= _DEPTH:
        key = _next_key(content, where)
        if key is None:
            tensors = _tensors_in(content)
            if tensors and all(isinstance(name, str) for name in tensors):
                return path
            break
        path, content = (*path, key), content[key]
    refuse_other_forms(content, where)
    held = type(content).__name__
    if isinstance(content, Mapping):
        held = f'a dict of [{listed(sorted(map(repr, content)), 6)}]'
    raise CheckpointError(
        f'{where} holds no weights but {held}: expected named tensors, '
        f'or a dict with one of {list(CONTAINERS)}{what_else(top)}'
    )


def _next_key(content: Mapping[Any, Any], where: str) -> Any:
    """The container to open, or None where the weights are here or nowhere."""
    usual = [key for key in CONTAINERS if isinstance(content.get(key), Mapping)]
    if usual:
        known = [key for key in usual if _holds_weights(content[key])]
        if len(known) > 1 and not all(_equal(content[known[0]], content[k]) for k in known[1:]):
            raise several_models(where, known)
        return (known or usual)[0]
    if recognise(_named(_tensors_in(content))):
        return None
    known = [k for k, v in content.items() if isinstance(v, Mapping) and _holds_weights(v)]
    raw = [key for key in known if not _is_averaged(key)] or known
    if len(raw) > 1:
        raise several_models(where, [str(key) for key in raw])
    return raw[0] if raw else None


def _holds_weights(content: Mapping[Any, Any], depth: int = _DEPTH) -> bool:
    if recognise(_named(_tensors_in(content))):
        return True
    inner = (value for value in content.values() if isinstance(value, Mapping))
    return depth > 1 and any(_holds_weights(value, depth - 1) for value in inner)


def _other_weights(content: Any, chosen: Path, path: Path = ()) -> Iterator[Path]:
    """The keys to other weights than the chosen ones: averaged ones, and whole models."""
    if not isinstance(content, Mapping) or len(path) > _DEPTH:
        return
    for key, value in content.items():
        here = (*path, key)
        if here == chosen or not isinstance(value, Mapping | list | tuple):
            continue
        is_way = chosen[: len(here)] == here
        holds_model = isinstance(value, Mapping) and _holds_weights(value)
        is_model = holds_model and recognise(_named(_tensors_in(value)))
        is_list = not holds_model and _is_averaged(key) and _has_tensor(value)
        if not is_way and (is_model or is_list):
            yield here
        else:
            yield from _other_weights(value, chosen, here)


def _has_tensor(value: Any, depth: int = _DEPTH) -> bool:
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return isinstance(value, Tensor)
    return depth > 0 and any(_has_tensor(inner, depth - 1) for inner in value)


def _beside(content: Any, path: Path, others: list[Path]) -> Iterator[str]:
    for i, taken in enumerate((*path, None)):
        at_end = i == len(path)
        for key, value in content.items():
            is_weight = (at_end and isinstance(value, Tensor)) or (*path[:i], key) in others
            if not is_weight and (at_end or key != taken):
                yield str(key)
        content = None if at_end else content[taken]


def _notes(content: Any, path: Path, others: list[Path]) -> Iterator[str]:
    """What to say of weights in containers of their own."""
    taken = _dotted(path) or 'the weights on top'
    if any(_is_averaged(key) for key in path):
        yield f'took {taken}: averaged weights (EMA), the only ones there'
    for other in others:
        name = _dotted(other)
        held = _at(content, other)
        is_known = isinstance(held, Mapping) and _holds_weights(held)
        way = _OTHERS.format(name) if is_known else ''
        if _is_swapped(content, path, other):
            yield (
                f'took {taken}, which holds the averaged weights (EMA): the training stored the '
                f'raw ones as {name}{way}'
            )
        elif any(_is_averaged(key) for key in other):
            yield f'took {taken}, not the averaged weights (EMA) of {name}{way}'
        else:
            yield f'took {taken}, not the weights of {name}{way}'


def _is_swapped(content: Mapping[Any, Any], path: Path, other: Path) -> bool:
    """Whether the usual name holds the averaged weights, and the other one the raw ones.

    mmengine's EMAHook and Lightning's WeightAveraging write their files so. The first is told by
    the form of what it keeps: a model under 'module.' and the count of its steps.
    """
    if path != ('state_dict',):
        return False
    if other == ('current_model_state',):
        return 'averaging_state' in content
    if other != ('ema_state_dict',) or not isinstance(content['ema_state_dict'], Mapping):
        return False
    names = {str(name) for name in content['ema_state_dict']}
    return 'steps' in names and all(name.startswith('module.') for name in names - {'steps'})


def _without_averaged(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Leave out averaged copies that are stored among the weights, under names of their own."""
    twins = _buffers_of_mmcv(tensors)
    copies = {name for name in tensors if any(map(_is_averaged, name.split('.')[:-1]))}
    raw = {name: t for name, t in tensors.items() if name not in copies and name not in twins}
    if recognise(raw) is None or not (copies or twins):
        # torch's AveragedModel counts beside a model under 'module.'.
        is_averaged = copies or any(name.rpartition('.')[2] == 'n_averaged' for name in raw)
        is_known = recognise(tensors) is not None
        note = ('averaged weights (EMA), the only ones there',)
        return tensors, note if is_averaged and is_known else ()
    notes = []
    if twins:
        notes.append(
            f"took the plain names, in which mmcv 1's EMAHook stores the averaged weights (EMA) "
            f'at the end of an epoch, not the {len(twins)} {_BUFFER} buffers'
            f'{_OTHERS.format(_BUFFER)}'
        )
    if copies:
        starts = sorted({_averaged_start(name) for name in copies})
        # Some store them under names without dots, which nothing here can read.
        is_known = recognise({name: tensors[name] for name in copies}) is not None
        notes.append(
            f'did not take the averaged weights (EMA) under {listed(starts)}'
            f'{_OTHERS.format(max(starts, key=len)) if is_known else ""}'
        )
    return raw, tuple(notes)


def _averaged_start(name: str) -> str:
    segments = name.split('.')
    last = max(i for i, segment in enumerate(segments[:-1]) if _is_averaged(segment))
    return '.'.join(segments[: last + 1]) + '.'


def _buffers_of_mmcv(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of mmcv 1's buffers, 'ema_backbone_norm_weight', and the weights they belong to.

    Only those with a weight of that name and shape: what is left over must have an explanation.
    """
    starts = {name.rpartition('.')[0] for name in tensors if _is_buffer(name)}
    found = {}
    for start in starts:
        front = f'{start}.' if start else ''
        for name, tensor in tensors.items():
            twin = f'{front}{_BUFFER}{name[len(front) :].replace(".", "_")}'
            if name.startswith(front) and twin in tensors and twin != name:
                if tensors[twin].shape == tensor.shape:
                    found[twin] = name
    return found


def _is_buffer(name: str) -> bool:
    return name.rpartition('.')[2].startswith(_BUFFER)


def _asked_for(content: Any, where: str, take: str) -> Contents:
    """The weights somebody named: a container, or all whose names begin so."""
    target = _by_dotted(content, take)
    if isinstance(target, Mapping):
        found = find_tensors(target, where)
        return Contents(found.tensors, (), (f'took {take}, as asked for', *found.notes))
    held = _at(content, _path_to_weights(content, where))
    refuse_other_forms(held, where)
    tensors = unwrapped(_named(_tensors_in(held)), where)
    if take == _BUFFER:
        twins = _buffers_of_mmcv(tensors)
        chosen = {name: tensors[twin] for twin, name in twins.items()}
        rest = {n: t for n, t in tensors.items() if n not in chosen and n not in twins}
        chosen |= rest if chosen else {}
    else:
        front = take if take.endswith('.') else f'{take}.'
        chosen = {n[len(front) :]: t for n, t in tensors.items() if n.startswith(front)}
    if not chosen:
        there = [*map(_dotted, _other_weights(content, ())), *_starts(tensors)]
        raise CheckpointError(
            f'{where} has nothing under {listed([take])}; it has {listed(there, 8)}'
        )
    return Contents(chosen, (), (f'took {take}, as asked for',))


def _by_dotted(content: Any, dotted: str) -> Any:
    """What lies under keys that are separated by dots, and may hold dots themselves."""
    if not dotted:
        return content
    if not isinstance(content, Mapping):
        return None
    for key, value in content.items():
        if isinstance(key, str) and key and f'{dotted}.'.startswith(f'{key}.'):
            found = _by_dotted(value, dotted[len(key) + 1 :])
            if found is not None:
                return found
    return None


def _starts(tensors: Mapping[str, Tensor]) -> list[str]:
    return sorted({name.partition('.')[0] + '.' for name in tensors})


def _at(content: Any, path: Path) -> Any:
    for key in path:
        content = content[key]
    return content


def _dotted(path: Path) -> str:
    return listed(['.'.join(map(str, path))])


def _is_averaged(key: Any) -> bool:
    return isinstance(key, str) and bool(_AVERAGED.search(key))


def _tensors_in(content: Any) -> dict[Any, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _named(tensors: Mapping[Any, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if isinstance(name, str)}


def _equal(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Whether two containers hold the same tensors, to the bit."""
    one, other = _tensors_in(one), _tensors_in(other)
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor, other[name])
        for name, tensor in one.items()
    )
