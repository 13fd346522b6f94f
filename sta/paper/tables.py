"""The paper's tables: every published number as a record of what to measure beside it.

A table is columns and records: a record says which row and column a number stands in, what was
published, and on which experiment ours is measured. Table 6 and the supplementary tables say what
each part of STA is worth, all on ViT-L but 6e.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sta.errors import ConfigError
from sta.evaluation import SummaryRow

from .experiment import (
    SPEED,
    TRAINING,
    TRAJECTORY,
    Experiment,
    ablated,
    after_blocks,
    in_order,
    parse_name,
    per_frame,
    random,
    setting_of,
    sta,
    with_stages,
)
from .inputs import small

FILE = Path(__file__).with_name('published.json')
SMOKE = 'SMOKE'
TRAJECTORY_DROP = 64
DROP = 64
STAGES_NOTE = 'block: chunks x drop: blocks are counted from 1, b stands for backward.'
# Of two and four stages the published cost is at hand, not the drop. These whole numbers, the same
# at every stage, are the only ones whose cost comes within 1 GFLOP of it (302 and 305); they keep
# 680 and 668 tokens, where three stages of 64 keep 672.
DROP_OF_STAGES = {2: 74, 3: DROP, 4: 60}


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        heading: with the unit.
        quantity: what to measure: one of COSTS, ACCURACIES, 'clips_per_s', 'trajectory_sum' or
            'training'.
        decimals: shown of our numbers.
        comparable: whether the difference from the published number means anything; speeds of
            different machines differ by the machine.
    """

    heading: str
    quantity: str
    decimals: int = 2
    comparable: bool = True


@dataclass(frozen=True)
class Record:
    """A number of a table.

    Attributes:
        row: label of its row.
        column: its column.
        published: as printed in the paper; None where it says nothing.
        experiment: what to measure ours on; None for a number of others.
        ours: our number or words; None where nothing was measured.
        needs: what is missing for it; '' where there is nothing to measure, or it was.
        summary: the evaluation it comes from, for statistics.
    """

    row: str
    column: Column
    published: float | None = None
    experiment: Experiment | None = None
    ours: float | str | None = None
    needs: str = ''
    summary: SummaryRow | None = None

    @property
    def quantity(self) -> str:
        """What to measure; '' for nothing."""
        return self.column.quantity if self.experiment else ''

    @property
    def difference(self) -> float | None:
        """Ours minus the published number; None unless both are numbers."""
        if self.published is None or not isinstance(self.ours, int | float):
            return None
        return self.ours - self.published


@dataclass(frozen=True)
class Table:
    """A table or figure of the paper.

    Attributes:
        name: as typed on the command line, 'table2'.
        title: what it shows.
        first: heading of the rows.
        columns: of its numbers.
        records: its numbers, row by row; places without any are left out.
        notes: what a reader must know, a sentence or two each.
        is_smoke: whether ours are of the small models.
        footers: conditions of the evaluations that ours are from.
    """

    name: str
    title: str
    first: str
    columns: tuple[Column, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    is_smoke: bool = False
    footers: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[str, ...]:
        """Labels of the rows."""
        return tuple(dict.fromkeys(record.row for record in self.records))

    def experiments(self, *quantities: str) -> Iterator[Experiment]:
        """What is to be measured; of some quantities only, where they are named."""
        for record in self.records:
            if record.experiment and (not quantities or record.quantity in quantities):
                yield record.experiment


@lru_cache
def read_published() -> dict[str, Any]:
    """The numbers the paper printed, typed from it: every table, by name; read only.

    Units: GFLOPs are 1e9 multiply-accumulates per view, accuracies per cent, speeds clips/s.

    Source: Ding et al., ICCV 2023, Tables 1 to 6, Figure 5 and supplementary Tables 1 to 3.
    """
    found: dict[str, Any] = json.loads(FILE.read_text(encoding='utf-8'))
    return found


def build_tables(names: Sequence[str]) -> list[Table]:
    """The tables asked for, in the paper's order; 'all' and 'table6' stand for several.

    Raises:
        ConfigError: an unknown name; lists the known ones.
    """
    groups = {'all': list(TABLES), 'table6': [name for name in TABLES if name[:-1] == 'table6']}
    wanted = [single for name in names for single in groups.get(name, [name])]
    unknown = [name for name in wanted if name not in TABLES]
    if unknown:
        raise ConfigError(f'no table {unknown[0]!r}; there are {", ".join(TABLES)}, table6 and all')
    return [build() for name, build in TABLES.items() if name in wanted]


def smoke_table(table: Table) -> Table:
    """The same table with every experiment on a small model, and nothing published beside it."""
    runs = {record.row for record in table.records if record.experiment is not None}
    return replace(
        table,
        title=f'{SMOKE}, not the paper: {table.title}',
        records=tuple(
            replace(r, published=None, experiment=small(r.experiment))
            for r in table.records
            if r.row in runs and r.experiment is not None
        ),
        notes=(
            f'{SMOKE}: small models, a few embedded videos, schedules scaled to their grids; shows '
            f'that every experiment runs, and says nothing about the paper.',
        ),
        is_smoke=True,
    )


def line(
    row: str,
    columns: Sequence[Column],
    published: Sequence[float | None],
    experiments: Experiment | None | Sequence[Experiment | None],
) -> list[Record]:
    """The records of a row.

    Args:
        row: its label.
        columns: of the table.
        published: a number for each of the first columns; the paper has none for the rest.
        experiments: one for each column, or one for all.
    """
    if experiments is None or isinstance(experiments, Experiment):
        experiments = [experiments] * len(columns)
    numbers = [*published, *[None] * (len(columns) - len(published))]
    return [
        Record(row, column, number, experiment)
        for column, number, experiment in zip(columns, numbers, experiments, strict=True)
        if number is not None or experiment is not None
    ]


GFLOPS = Column('GFLOPs/view', 'gflops')
TOKENS = Column('tokens after stages', 'tokens')
PARAMETERS = Column('params M', 'parameters')
STAGES = Column('block: chunks x drop', 'stages')
TOP1, TOP5 = Column('top-1 %', 'top1'), Column('top-5 %', 'top5')
CLIPS_PER_S = Column('clips/s', SPEED, comparable=False)


def table1() -> Table:
    """Trajectory sums: how much of the same thing the kept tokens still show over time."""
    columns = (
        *(Column(name, TRAJECTORY) for name in ('no pruning', 'random', 'STA')),
        Column('GFLOPs/view, no pruning', 'gflops'),
        Column(f'GFLOPs/view, STA{TRAJECTORY_DROP}', 'gflops'),
    )
    records = []
    for row in read_published()['table1_trajectory_sum']['rows']:
        setting = setting_of(row['model'], 'k400')
        whole, pruned = sta(setting, 0), sta(setting, TRAJECTORY_DROP)
        experiments = (whole, random(setting, TRAJECTORY_DROP), pruned, whole, pruned)
        records += line(row['model'], columns, (row['vit'], row['random'], row['sta']), experiments)
    return Table(
        'table1',
        'Trajectory sum on K400 (Eq. 6), lower is less redundancy over time',
        'model',
        columns,
        tuple(records),
        (f'Ours at r = {TRAJECTORY_DROP}, the r of the ablations: the drop is taken to be that.',),
    )


def table2() -> Table:
    """STA on VideoMAE's ViTs at four schedules."""
    on_k400, on_ssv2 = Column('K400 top-1 %', 'top1'), Column('SSV2 top-1 %', 'top1')
    columns = (GFLOPS, on_k400, on_ssv2, TOKENS, PARAMETERS)
    records = []
    for row in read_published()['table2_vit']['rows']:
        for i, drop in enumerate(row['drop']):
            published = (row['gflops'][i], row['k400_top1'][i], _at(row['ssv2_top1'], i))
            k400, ssv2 = _on_both(row['model'], drop, has_ssv2=row['ssv2_top1'] is not None)
            experiments = (k400, k400, ssv2, k400, k400)
            records += line(f'{row["model"]} r={drop}', columns, published, experiments)
    return Table(
        'table2',
        'STA on ViT (VideoMAE), 16 x 224 x 224, K400 at 5 x 3 and SSV2 at 2 x 3 views',
        'model',
        columns,
        tuple(records),
        ('r: tokens dropped per chunk at each of the three stages.',),
    )


def table3() -> Table:
    """STA on VideoSwin at four schedules."""
    columns = (
        GFLOPS,
        Column('K400 top-1 %', 'top1'),
        Column('SSV2 GFLOPs/view', 'gflops'),
        Column('SSV2 top-1 %', 'top1'),
        TOKENS,
        PARAMETERS,
    )
    records = []
    for row in read_published()['table3_videoswin']['rows']:
        for i, drop in enumerate(row['drop']):
            both = ((row['gflops'], row['k400_top1']), (row['ssv2_gflops'], row['ssv2_top1']))
            published = [_at(numbers, i) for own in both for numbers in own]
            k400, ssv2 = _on_both(row['model'], drop, has_ssv2=row['ssv2_top1'] is not None)
            experiments = (k400, k400, ssv2, ssv2, k400, k400)
            records += line(f'{row["model"]} r1={drop}', columns, published, experiments)
    return Table(
        'table3',
        'STA on VideoSwin, 32 x 224 x 224, K400 at 4 x 3 views with window (8,7,7), SSV2 at 1 x 3 '
        'with (16,7,7)',
        'model',
        columns,
        tuple(records),
        ('r1: tokens dropped per frame of 28 x 28; 3 r1 / 8 of 14 x 14, r1 / 8 of 7 x 7.',),
    )


def table4() -> Table:
    """Other models on K400."""
    return _comparison('table4', 'table4_k400', 'k400', 'Comparison on Kinetics-400')


def table5() -> Table:
    """Other models on SSV2."""
    return _comparison('table5', 'table5_ssv2', 'ssv2', 'Comparison on Something-Something V2')


def fig5() -> Table:
    """Speed against accuracy of ViT-L, STA and pruning at random."""
    found, setting = read_published()['fig5_vit_l_k400'], setting_of('ViT-L', 'k400')
    on_random = Column('random top-1 %', 'top1')
    columns = (GFLOPS, CLIPS_PER_S, Column('STA top-1 %', 'top1'), on_random)
    records = []
    for i, drop in enumerate(found['drop']):
        own, other = sta(setting, drop), random(setting, drop) if drop else None
        drawn = found['random_top1'][i] if drop else None
        published = (None, found['clips_per_s'][i], found['sta_top1'][i], drawn)
        records += line(f'r={drop}', columns, published, (own, own, own, other))
    return Table(
        'fig5',
        'ViT-L on K400: speed against accuracy',
        'schedule',
        columns,
        tuple(records),
        ("The paper's speeds: batch 32 on one 32 GB V100 with AMP, read off the plot.",),
    )


def table6a() -> Table:
    """How the first frame is pruned."""
    return _parts('table6a', 'first_frame', 'First frame', 'image pruner')


def table6b() -> Table:
    """In which direction each stage accumulates."""
    setting = setting_of('ViT-L', 'k400')

    def make(letters: str) -> Experiment:
        return in_order(setting, DROP, letters, '-'.join(letters))

    return _with_baseline('table6b', 'order', 'Order of accumulation', 'order', make)


def table6c() -> Table:
    """Which features are compared over time."""
    return _parts('table6c', 'similarity', 'Features of the similarity', 'features')


def table6d() -> Table:
    """How drops are spread over the stages."""
    found, setting = read_published()['table6_ablations'], setting_of('ViT-L', 'k400')
    rows = [('baseline', found['baseline'], sta(setting, 0))]
    for name, row in found['schedule'].items():
        drops = row['drops_per_frame']
        text = ','.join(map(str, drops))
        rows.append((f'{name} {{{text}}}', row, per_frame(setting, drops, name)))
    columns = (TOP1, TOP5, CLIPS_PER_S, GFLOPS, STAGES, TOKENS)
    records = [
        record
        for label, row, experiment in rows
        for record in line(label, columns, (*row['acc'], row['clips_per_s']), experiment)
    ]
    return Table(
        'table6d',
        'Schedules, ViT-L on K400',
        'drops per frame',
        columns,
        tuple(records),
        ("The paper's speeds are of a V100.", STAGES_NOTE),
    )


def table6e() -> Table:
    """What the score is made of, on three models."""
    found = read_published()['table6_ablations']['score']
    kinds = {'semantic_only': 'semantic', 'temporal_only': 'temporal', 'product': 'product'}
    settings = [setting_of(model, 'k400') for model in found['models']]
    columns = tuple(Column(f'{model} top-1 %', 'top1') for model in found['models'])
    records = []
    for key, kind in kinds.items():
        experiments = [ablated(setting, DROP, 'score', kind) for setting in settings]
        records += line(key.replace('_', ' '), columns, found[key], experiments)
    return Table(
        'table6e',
        f'Pruning score, K400, r = {DROP}',
        'score',
        columns,
        tuple(records),
        ('semantic: 1 - F; temporal: A; product: A (1 - F).',),
    )


def supp1() -> Table:
    """Fine-tuning with STA, which takes training."""
    found = read_published()['supp_table1_training']
    columns = (
        Column('training clips/s', TRAINING, comparable=False),
        Column('training hours', TRAINING, comparable=False),
        Column('top-1 %', TRAINING),
        GFLOPS,
    )
    records = []
    for row in found['rows']:
        experiment = _named(row['model'], 'k400')
        published = (row['clips_per_s'], row['hours'], row['top1'])
        records += line(row['model'], columns, published, experiment)
    recipe = ', '.join(f'{key} {value}' for key, value in found['recipe'].items())
    return Table(
        'supp1',
        'Fine-tuning on K400, 4 nodes of 8 V100',
        'model',
        columns,
        tuple(records),
        (
            f'Recipe: {recipe}.',
            'Training needs a config with this recipe, which is not shipped since it could not be '
            'run; then: python tools/train.py CONFIG --launcher pytorch --amp fp16 --cfg-options '
            'model.backbone.schedule=48 (0 for ViT-B).',
        ),
    )


def supp2() -> Table:
    """More or fewer temporal clips."""
    found = read_published()['supp_table2_views']
    columns = tuple(Column(f'r={drop}', 'top1') for drop in found['drop'])
    records = []
    for views, top1 in found['rows'].items():
        clips, crops = map(int, views.split('x'))
        setting = setting_of('ViT-L', 'k400', (clips, crops))
        experiments = [sta(setting, drop) for drop in found['drop']]
        records += line(f'{clips} x {crops}', columns, top1, experiments)
    return Table(
        'supp2', 'ViT-L on K400, top-1 (%) by views', 'clips x crops', columns, tuple(records)
    )


def supp3() -> Table:
    """How many stages, and behind which blocks."""
    found, setting = read_published()['supp_table3_modules'], setting_of('ViT-L', 'k400')
    rows = []
    for number, row in found['number_of_stages'].items():
        label = f'{number} stages'
        drop = DROP_OF_STAGES[int(number)]
        rows.append((label, row, with_stages(setting, drop, int(number), label)))
    for places, row in found['after_block_1based'].items():
        label = f'after {places}'
        blocks = [int(place) for place in places.split(',')]
        rows.append((label, row, after_blocks(setting, DROP, blocks, label)))
    columns = (GFLOPS, TOP1, STAGES, TOKENS)
    records = [
        record
        for label, row, experiment in rows
        for record in line(label, columns, (row['gflops'], row['top1']), experiment)
    ]
    drops = ', '.join(f'{drop} with {stages}' for stages, drop in DROP_OF_STAGES.items())
    return Table(
        'supp3',
        'Number and places of stages, ViT-L on K400',
        'stages',
        columns,
        tuple(records),
        (
            STAGES_NOTE,
            f'Drops per chunk: {drops} stages; those of 2 and 4 follow from the published cost: '
            f'docs/reproduce.md.',
        ),
    )


_BUILDERS = (
    table1,
    table2,
    table3,
    table4,
    table5,
    table6a,
    table6b,
    table6c,
    table6d,
    table6e,
    fig5,
    supp1,
    supp2,
    supp3,
)
TABLES: dict[str, Callable[[], Table]] = {builder.__name__: builder for builder in _BUILDERS}


def _at(numbers: Sequence[float] | None, index: int) -> float | None:
    """Where the paper has such numbers, one of them."""
    return None if numbers is None else numbers[index]


def _on_both(model: str, drop: int, *, has_ssv2: bool) -> tuple[Experiment, Experiment | None]:
    """STA on K400 and on SSV2, where the paper has that."""
    ssv2 = sta(setting_of(model, 'ssv2'), drop) if has_ssv2 else None
    return sta(setting_of(model, 'k400'), drop), ssv2


def _named(model: str, dataset: str, views: tuple[int, int] | None = None) -> Experiment | None:
    """'STA64-ViT-L' as an experiment; None for a model of others."""
    named = parse_name(model)
    return named and sta(setting_of(named.model, dataset, views), named.drop)


def _comparison(name: str, key: str, dataset: str, title: str) -> Table:
    columns, records = (GFLOPS, TOP1, PARAMETERS), []
    for row in read_published()[key]['rows']:
        views = (row['views_time'], row['views_space'])
        experiment = _named(row['model'], dataset, views)
        mark = '' if experiment or not row['token_reduction'] else ', reduces tokens'
        label = f'{row["model"]} ({views[0]} x {views[1]}{mark})'
        records += line(label, columns, (row['gflops'], row['top1']), experiment)
    note = 'Rows without numbers of ours are models of others, quoted.'
    return Table(name, title, 'model (views)', columns, tuple(records), (note,))


def _parts(name: str, part: str, title: str, first: str) -> Table:
    """An ablation of one setting of the pruner."""
    setting = setting_of('ViT-L', 'k400')
    return _with_baseline(name, part, title, first, lambda v: ablated(setting, DROP, part, v))


def _with_baseline(
    name: str, key: str, title: str, first: str, make: Callable[[str], Experiment]
) -> Table:
    """No pruning, then each choice: top-1 and top-5."""
    found = read_published()['table6_ablations']
    choices: Mapping[str, list[float]] = {'baseline': found['baseline']['acc'], **found[key]}
    columns, records = (TOP1, TOP5, GFLOPS), []
    for choice, accuracies in choices.items():
        is_whole = choice == 'baseline'
        experiment = sta(setting_of('ViT-L', 'k400'), 0) if is_whole else make(choice)
        records += line(choice, columns, accuracies, experiment)
    return Table(name, f'{title}, ViT-L on K400, r = {DROP}', first, columns, tuple(records))
