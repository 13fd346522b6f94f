"""Tables for LaTeX, with booktabs' rules."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ESCAPED = {
    '\\': r'\textbackslash{}',
    '&': r'\&',
    '%': r'\%',
    '$': r'\$',
    '#': r'\#',
    '_': r'\_',
    '{': r'\{',
    '}': r'\}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '<': r'\textless{}',
    '>': r'\textgreater{}',
    # Else two hyphens become a dash, and an option of a command cannot be copied.
    '--': r'-{}-',
}


def escape(text: str) -> str:
    """Any text as LaTeX prints it."""
    doubled = text.split('--')
    return _ESCAPED['--'].join(''.join(_ESCAPED.get(c, c) for c in part) for part in doubled)


def latex_table(
    headings: Sequence[str],
    columns: Sequence[Sequence[str]],
    *,
    caption: str,
    label: str,
    notes: Sequence[str],
    comments: Sequence[str],
) -> str:
    """A table environment, to be \\input where booktabs and graphicx are loaded.

    Args:
        headings: one a column.
        columns: cells of each; the first column holds names and is set to the left.
        caption: above the table.
        label: for \\ref.
        notes: below it.
        comments: not printed.
    """
    rows = [' & '.join(map(_cell, cells)) + r' \\' for cells in zip(*columns, strict=True)]
    lines = [
        *(f'% {" ".join(comment.split())}' for comment in comments),
        r'% \usepackage{booktabs,graphicx}',
        r'\begin{table}',
        r'\centering',
        rf'\caption{{{escape(caption)}}}',
        rf'\label{{{label}}}',
        # Wide ones shrink; narrow ones must not grow.
        r'\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%',
        rf'\begin{{tabular}}{{l{"r" * (len(columns) - 1)}}}',
        r'\toprule',
        ' & '.join(map(_cell, headings)) + r' \\',
        r'\midrule',
        *rows,
        r'\bottomrule',
        r'\end{tabular}}',
        *(rf'\par\footnotesize\raggedright {escape(note)}' for note in notes),
        r'\end{table}',
    ]
    return '\n'.join(lines) + '\n'


def _cell(text: str) -> str:
    """One cell.

    What starts with [ would be taken for an option of the line break before it, and a minus sign
    outside of formulas is printed as a hyphen.
    """
    if re.fullmatch(r'[+-]\d+(\.\d+)?', text):
        return f'${text}$'
    return f'{{{escape(text)}}}' if text.startswith(('[', '*')) else escape(text)
