"""Tables 1 to 5 and Figure 5: accuracy next to cost, against pruning at random, against others."""

from __future__ import annotations

from .experiment import SPEED, TRAJECTORY, Cell, Column, Experiment, Row, Setting, Table
from .published import read_published
from .settings import parse_name, random, setting_of, sta

GFLOPS = Column('GFLOPs/view')
TOKENS = Column('tokens after stages')
PARAMETERS = Column('params M')
TRAJECTORY_DROP = 64
NOTHING = Cell()


def table1() -> Table:
    """Trajectory sums: how much of the same thing the kept tokens still show over time."""
    rows = []
    for row in read_published()['table1_trajectory_sum']['rows']:
        setting = setting_of(row['model'], 'k400')
        experiments = (
            sta(setting, 0),
            random(setting, TRAJECTORY_DROP),
            sta(setting, TRAJECTORY_DROP),
        )
        published = (row['vit'], row['random'], row['sta'])
        sums = (Cell(p, TRAJECTORY, e) for p, e in zip(published, experiments, strict=True))
        costs = (cost('gflops', experiments[0]), cost('gflops', experiments[2]))
        rows.append(Row(row['model'], (*sums, *costs)))
    return Table(
        'table1',
        'Trajectory sum on K400 (Eq. 6), lower is less redundancy over time',
        'model',
        (
            Column('no pruning'),
            Column('random'),
            Column('STA'),
            Column('GFLOPs/view, no pruning'),
            Column(f'GFLOPs/view, STA{TRAJECTORY_DROP}'),
        ),
        tuple(rows),
        (f'Ours at r = {TRAJECTORY_DROP}, the r of the ablations: the drop is taken to be that.',),
    )


def table2() -> Table:
    """STA on VideoMAE's ViTs at four schedules."""
    rows = []
    for row in read_published()['table2_vit']['rows']:
        k400 = setting_of(row['model'], 'k400')
        for i, drop in enumerate(row['drop']):
            experiment = sta(k400, drop)
            rows.append(
                Row(
                    f'{row["model"]} r={drop}',
                    (
                        Cell(row['gflops'][i], 'gflops', experiment),
                        Cell(row['k400_top1'][i], 'top1', experiment),
                        on_ssv2(row, 'ssv2_top1', 'top1', i),
                        cost('tokens', experiment),
                        cost('parameters', experiment),
                    ),
                )
            )
    return Table(
        'table2',
        'STA on ViT (VideoMAE), 16 x 224 x 224, K400 at 5 x 3 and SSV2 at 2 x 3 views',
        'model',
        (GFLOPS, Column('K400 top-1 %'), Column('SSV2 top-1 %'), TOKENS, PARAMETERS),
        tuple(rows),
        ('r: tokens dropped per chunk at each of the three stages.',),
    )


def table3() -> Table:
    """STA on VideoSwin at four schedules."""
    rows = []
    for row in read_published()['table3_videoswin']['rows']:
        k400 = setting_of(row['model'], 'k400')
        for i, drop in enumerate(row['drop']):
            experiment = sta(k400, drop)
            rows.append(
                Row(
                    f'{row["model"]} r1={drop}',
                    (
                        Cell(row['gflops'][i], 'gflops', experiment),
                        Cell(row['k400_top1'][i], 'top1', experiment),
                        on_ssv2(row, 'ssv2_gflops', 'gflops', i),
                        on_ssv2(row, 'ssv2_top1', 'top1', i),
                        cost('tokens', experiment),
                        cost('parameters', experiment),
                    ),
                )
            )
    return Table(
        'table3',
        'STA on VideoSwin, 32 x 224 x 224, K400 at 4 x 3 views with window (8,7,7), SSV2 at 1 x 3 '
        'with (16,7,7)',
        'model',
        (
            GFLOPS,
            Column('K400 top-1 %'),
            Column('SSV2 GFLOPs/view'),
            Column('SSV2 top-1 %'),
            TOKENS,
            PARAMETERS,
        ),
        tuple(rows),
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
    rows = []
    for i, drop in enumerate(found['drop']):
        experiment = sta(setting, drop)
        rows.append(
            Row(
                f'r={drop}',
                (
                    cost('gflops', experiment),
                    Cell(found['clips_per_s'][i], SPEED, experiment),
                    Cell(found['sta_top1'][i], 'top1', experiment),
                    Cell(found['random_top1'][i], 'top1', random(setting, drop))
                    if drop
                    else NOTHING,
                ),
            )
        )
    return Table(
        'fig5',
        'ViT-L on K400: speed against accuracy',
        'schedule',
        (
            GFLOPS,
            Column('clips/s', comparable=False),
            Column('STA top-1 %'),
            Column('random top-1 %'),
        ),
        tuple(rows),
        ("The paper's speeds: batch 32 on one 32 GB V100 with AMP, read off the plot.",),
    )


def cost(quantity: str, experiment: Experiment) -> Cell:
    """A number of ours that the paper does not print."""
    return Cell(None, quantity, experiment)


def on_ssv2(row: dict, key: str, quantity: str, index: int) -> Cell:
    """The same model and drop on SSV2; empty where the paper has no such number."""
    if row[key] is None:
        return NOTHING
    setting: Setting = setting_of(row['model'], 'ssv2')
    return Cell(row[key][index], quantity, sta(setting, row['drop'][index]))


def _comparison(name: str, key: str, dataset: str, title: str) -> Table:
    rows = []
    for row in read_published()[key]['rows']:
        views = (row['views_time'], row['views_space'])
        named = parse_name(row['model'])
        experiment = named and sta(setting_of(named.model, dataset, views), named.drop)
        mark = '' if named or not row['token_reduction'] else ', reduces tokens'
        rows.append(
            Row(
                f'{row["model"]} ({views[0]} x {views[1]}{mark})',
                (
                    Cell(row['gflops'], 'gflops' if experiment else '', experiment),
                    Cell(row['top1'], 'top1' if experiment else '', experiment),
                    cost('parameters', experiment) if experiment else NOTHING,
                ),
            )
        )
    return Table(
        name,
        title,
        'model (views)',
        (GFLOPS, Column('top-1 %'), PARAMETERS),
        tuple(rows),
        ('Rows without numbers of ours are models of others, quoted.',),
    )
