"""The tables by the names that a command line takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sta.errors import ConfigError

from . import ablations, tables
from .experiment import Table

_BUILDERS = (
    tables.table1,
    tables.table2,
    tables.table3,
    tables.table4,
    tables.table5,
    ablations.table6a,
    ablations.table6b,
    ablations.table6c,
    ablations.table6d,
    ablations.table6e,
    tables.fig5,
    ablations.supp1,
    ablations.supp2,
    ablations.supp3,
)
TABLES: dict[str, Callable[[], Table]] = {builder.__name__: builder for builder in _BUILDERS}


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
