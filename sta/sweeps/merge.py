"""Put the shards of an evaluation together, exactly as the processes of one run are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sta.atomic import write_text
from sta.errors import DataError, StoreError
from sta.evaluation import (
    EvaluationResult,
    assemble,
    differing_parts,
    read_condition_texts,
    read_conditions,
    read_fingerprint,
    read_stores,
    snapshots,
)
from sta.report import evaluation_of, write_evaluation
from sta.report.page import write_page

from .manifest import Planned
from .state import DONE, ElementState

MERGED = '.merged.json'


def merge(planned: Planned, states: Sequence[ElementState], folder: Path) -> bool:
    """Write table, plots and page of an evaluation; leaves them where nothing has changed.

    Args:
        planned: the evaluation.
        states: of its elements.
        folder: of its results.

    Returns:
        Whether there are results.

    Raises:
        DataError, StoreError: scores that cannot be read, or are not of one evaluation.
    """
    paths = [path for state in states for path in state.element.folder.glob('scores/*.sqlite')]
    if not any(state.stored for state in states):
        return False
    signature = _signature(paths, states)
    if _merged_before(folder) == signature and (folder / 'results.json').exists():
        return True
    with snapshots(paths) as copies:
        fingerprint = _common_fingerprint(copies)
        conditions = read_conditions(read_condition_texts(copies))
        stored = read_stores(copies, len(conditions.variants))
    result = assemble(
        stored,
        conditions,
        wall_s=sum(state.ran_s for state in states),
        wait_share=float('nan'),
        part=_part(planned, states, len(stored.videos)),
    )
    _write(result, planned, states, fingerprint, folder)
    write_text(folder / MERGED, json.dumps({'signature': signature}) + '\n')
    return True


def _write(
    result: EvaluationResult,
    planned: Planned,
    states: Sequence[ElementState],
    fingerprint: Mapping[str, str],
    folder: Path,
) -> None:
    found = evaluation_of(
        result,
        command='\n'.join(state.element.typed() for state in states),
        config=planned.evaluation.config,
        checkpoint=planned.evaluation.checkpoint,
        annotations=planned.annotations,
        fingerprint=fingerprint,
    )
    write_evaluation(found, folder)
    write_page(found, folder)


def _common_fingerprint(copies: Sequence[Path]) -> dict[str, str]:
    """What all scores depend on but for the shard.

    Raises:
        StoreError: they differ in more.
    """
    found = [read_fingerprint(path) for path in copies]
    for one in found:
        one.pop('shard', None)
    for one in found[1:]:
        if differing := differing_parts(found[0], one):
            raise StoreError(f'its shards have other {", ".join(differing)} than each other')
    if not found:
        raise DataError('no scores yet')
    return found[0]


def _part(planned: Planned, states: Sequence[ElementState], stored: int) -> str:
    done = sum(state.state == DONE for state in states)
    if stored < planned.num_videos:
        return f'so far, of {planned.num_videos}; {done} of {len(states)} shards are done'
    return f'merged from {len(states)} shards' if len(states) > 1 else ''


def _signature(paths: Sequence[Path], states: Sequence[ElementState]) -> str:
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    states_text = [state.state for state in states]
    return hashlib.sha256(json.dumps([sorted(facts), states_text]).encode()).hexdigest()


def _merged_before(folder: Path) -> str | None:
    try:
        return json.loads((folder / MERGED).read_text(encoding='utf-8'))['signature']
    except (OSError, ValueError, KeyError, TypeError):
        return None
