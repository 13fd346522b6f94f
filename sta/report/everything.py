"""All files of an evaluation: tables, scores, classes, plots and the page."""

from __future__ import annotations

from pathlib import Path

from sta.datasets.class_names import read_class_names
from sta.evaluation import EvaluationResult, shown_rows, summarise

from .classes import write_classes
from .page import write_page
from .plot import plot_accuracy_vs_gflops, save_figure
from .writers import write_results


def write_everything(
    result: EvaluationResult,
    folder: Path,
    *,
    command: str,
    config: str,
    checkpoint: str,
    title: str = '',
) -> list[Path]:
    """Write all files; results.json marks a run as finished and comes last but for its page.

    Args:
        result: what was found.
        folder: where to.
        command: the command line that made it.
        config: path of the config.
        checkpoint: path of the weights; '' for none.
        title: of the plot; default the name of the config.

    Returns:
        Their paths.
    """
    figure = plot_accuracy_vs_gflops(
        shown_rows(summarise(result)),
        num_videos=len(result.labels),
        title=title or Path(config).stem,
    )
    plots = save_figure(figure, folder, 'accuracy_vs_gflops')
    names = None if result.class_list is None else read_class_names(result.class_list)
    classes = write_classes(result, folder, names)
    tables = write_results(result, folder, command=command, config=config, checkpoint=checkpoint)
    return [*tables.values(), classes, *plots, write_page(folder)]


def write_shard(
    result: EvaluationResult, folder: Path, *, command: str, config: str, checkpoint: str
) -> list[Path]:
    """Write the tables and scores of a part of a list; see :func:`write_everything`."""
    made = dict(command=command, config=config, checkpoint=checkpoint)
    return list(write_results(result, folder, **made).values())
