"""Everything that an evaluation leaves in its folder but the page, which reads the rest of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from pathlib import Path

from mmengine.config import Config
from torch import nn

from sta.datasets.annotations import read_class_names
from sta.engine.session import say
from sta.evaluation import EvaluationResult, shown_rows, summarise
from sta.visualization import Examples, make_examples

from .classes import numbered_names, write_classes
from .page import write_examples
from .plot import plot_accuracy_vs_gflops, plot_accuracy_vs_throughput, save_figure
from .results_folder import config_title
from .writers import write_results

EXAMPLES, EXAMPLES_S, MOST_EXAMPLES = 4, 20.0, 20


def write_evaluation(
    result: EvaluationResult,
    folder: Path,
    *,
    command: str,
    config: str,
    checkpoint: str,
    annotations: str | None,
    fingerprint: Mapping[str, str],
) -> list[Path]:
    """Tables, scores, classes and plots; results.json marks a run as finished and comes last.

    Args:
        result: what was found.
        folder: where to.
        command, config, checkpoint, annotations, fingerprint: see :func:`write_results`.

    Raises:
        OSError: the folder cannot be written.
    """
    rows, num_videos = shown_rows(summarise(result)), len(result.labels)
    title = config_title(config)
    cost = plot_accuracy_vs_gflops(rows, num_videos=num_videos, title=title)
    speed = plot_accuracy_vs_throughput(
        rows, num_videos=num_videos, hardware=result.hardware, title=title
    )
    plots = save_figure(cost, folder, 'accuracy_vs_gflops')
    plots += save_figure(speed, folder, 'accuracy_vs_throughput')
    names = None if result.class_list is None else read_class_names(result.class_list)
    classes = write_classes(result, folder, names)
    tables = write_results(
        result,
        folder,
        command=command,
        config=config,
        checkpoint=checkpoint,
        annotations=annotations,
        fingerprint=fingerprint,
    )
    return [*tables.values(), classes, *plots]


def add_examples(
    config: Config,
    model: nn.Module,
    result: EvaluationResult,
    folder: Path,
    *,
    asked: int | None = None,
) -> None:
    """Write example clips for the page; whatever goes wrong with them, the evaluation stands.

    Args:
        config: of the evaluation.
        model: in evaluation mode.
        result: what was found.
        folder: of the results.
        asked: how many, however long they take; None for a few that are quick.

    Raises:
        OSError: the folder cannot be written.
    """
    try:
        names = numbered_names(result.variants[0].scores.shape[1])
        examples = make_examples(
            config,
            model,
            result,
            names=names if result.class_list is None else read_class_names(result.class_list),
            number=EXAMPLES if asked is None else asked,
            most_s=EXAMPLES_S if asked is None else inf,
        )
    except Exception as error:  # decoders, codecs and memory fail in any way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        examples = Examples((), f'No example clips: {reason}')
    if not examples.shown:
        say(examples.note)
    write_examples(examples, folder)
