"""Rewrite a checkpoint of any known source under mmaction2's names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from sta import __version__
from sta.atomic import replacing, write_steadily
from sta.errors import CheckpointError

from .errors import listed
from .load import as_weight, fit_to
from .naming import Tensors, Translation, translate
from .read import read_contents


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did.

    Attributes:
        source: file or folder that was read.
        family: whose names it used.
        target: file that was written.
        num_read: tensors in the source.
        num_written: tensors in the target.
        num_parameters: numbers in the target.
        dtypes: of the tensors, unchanged.
        num_bytes: size of the target.
        left_out: names of tensors of no use, see Translation.
        beside: what else the source holds, such as 'optimizer'.
        tables: fixed tables of the model that the source does not store and the target does.
        notes: which weights were taken, where the source holds several, such as averaged ones.
    """

    source: str
    family: str
    target: str
    num_read: int
    num_written: int
    num_parameters: int
    dtypes: tuple[str, ...]
    num_bytes: int
    left_out: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f'read {self.num_read} tensors from {self.source}, named as by {self.family}',
            f'wrote {self.num_written} tensors ({self.num_parameters / 1e6:.2f} M numbers, '
            f'{", ".join(self.dtypes)}) under the names of mmaction2 to {self.target} '
            f'({self.num_bytes / 1e6:.1f} MB)',
        ]
        for names, what in (
            (self.tables, 'added the fixed tables of the model'),
            (self.left_out, 'left out, being zero or a count'),
            (self.beside, 'left out, being no weights'),
        ):
            lines += [f'{what}: {listed(names, 6)}'] if names else []
        return '\n'.join((*lines, *self.notes))


def convert_checkpoint(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    model: nn.Module | None = None,
    overwrite: bool = False,
    take: str | None = None,
) -> ConversionReport:
    """Write the weights of a checkpoint under mmaction2's names, in their own precision.

    Args:
        source: what :func:`load_checkpoint` reads.
        target: .safetensors, or .pth for mmaction2's own tools; written whole or not at all.
        model: recognizer that the weights must fit, each of them; its fixed tables (positions,
            window indices), which most sources do not store, are then written as well, so that
            mmaction2 loads the file strictly.
        overwrite: replace a file that is there.
        take: the weights that are meant where the source holds several: the key of a container,
            such as 'model_ema', how their names begin, such as 'teacher.', or 'ema_' for the
            buffers of mmcv 1.

    Raises:
        CheckpointError: the target is there or has another suffix; the source cannot be read, is
            of no known kind, holds NaN or infinity, or does not fit the model.

    Returns:
        What was done; ``str`` of it is a few lines.
    """
    target = Path(target)
    writer_for(target)
    if target.is_dir():
        raise CheckpointError(f'{target} is a folder: name the file to write')
    if target.exists() and not overwrite:
        raise CheckpointError(
            f'{target} is there already: give another name, or --force to replace it'
        )
    contents = read_contents(source, take)
    translation = translate(contents.tensors, str(source))
    tensors, tables = _checked(translation, model, str(source))
    write_tensors({**tensors, **tables}, target)
    written = [*tensors.values(), *tables.values()]
    return ConversionReport(
        source=str(source),
        family=translation.source,
        target=str(target),
        num_read=len(contents.tensors),
        num_written=len(written),
        num_parameters=sum(tensor.numel() for tensor in written),
        dtypes=tuple(sorted({str(tensor.dtype)[6:] for tensor in written})),
        num_bytes=target.stat().st_size,
        left_out=translation.left_out,
        beside=contents.beside,
        tables=tuple(sorted(tables)),
        notes=contents.notes,
    )


def _checked(
    translation: Translation, model: nn.Module | None, where: str
) -> tuple[Tensors, Tensors]:
    """The weights to write, and the fixed tables of the model that are not among them."""
    tensors, tables = translation.tensors, {}
    if model is not None:
        tensors, _ = fit_to(model, translation, where)
        tables = {name: t for name, t in model.state_dict().items() if name not in tensors}
    return {name: as_weight(t, t.dtype, name, where) for name, t in tensors.items()}, tables


def export_weights(
    model: nn.Module, path: str | os.PathLike[str], dtype: torch.dtype = torch.float16
) -> str:
    """Save a model's parameters under their own names; fixed tables (buffers) are left out.

    Args:
        model: any module.
        path: .safetensors file; written whole or not at all.
        dtype: of floating-point parameters.

    Raises:
        CheckpointError: another suffix, or a weight that is not finite in this dtype.

    Returns:
        One line saying what was written.
    """
    path = Path(path)
    if path.suffix != '.safetensors':
        raise CheckpointError(f'weights are exported as .safetensors, got {path}')
    for name, parameter in model.named_parameters():
        if not bool(parameter.detach().to(dtype).isfinite().all()):
            raise CheckpointError(f'{name} does not fit into {str(dtype)[6:]}: NaN or infinity')
    tensors = {name: parameter.detach().to(dtype) for name, parameter in model.named_parameters()}
    write_tensors(tensors, path)
    size_mb = path.stat().st_size / 1e6
    return f'wrote {len(tensors)} tensors as {str(dtype)[6:]} to {path} ({size_mb:.1f} MB)'


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors; the suffix says how.

    The same tensors give the same bytes: names are sorted, and no time or place is written.

    Args:
        tensors: dense tensors, which may be on any device and may share memory.
        path: .safetensors, or .pth for mmaction2's form, a dict of state_dict and meta that
            weights-only loading reads. A file of that name is replaced.

    Raises:
        CheckpointError: another suffix.
        OSError: it cannot be written, as on a full disk; names the file.
    """
    write = writer_for(path)
    # Copies: safetensors refuses tensors that share memory, and torch would write a whole storage
    # for a view into it.
    own = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    with replacing(path) as temporary:
        write(own, temporary)
        # safetensors creates files for the owner alone; colleagues on a shared disk read them, too.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)


def writer_for(path: Path) -> Callable[[dict[str, Tensor], Path], None]:
    """The function that writes the form a suffix asks for.

    Raises:
        CheckpointError: neither .safetensors nor .pth.
    """
    write = {'.safetensors': _write_safetensors, '.pth': _write_mmaction2}.get(path.suffix)
    if write is None:
        raise CheckpointError(f'weights are written as .safetensors or .pth, got {path}')
    return write


def _write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path, metadata={'format': 'pt'})
    except SafetensorError as error:  # its own name for errors of the system
        number = re.search(r'os error (\d+)', str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _write_mmaction2(tensors: dict[str, Tensor], path: Path) -> None:
    content = {'state_dict': tensors, 'meta': {'sta_version': __version__}}
    # Given a path, torch would write its name into the file.
    write_steadily(path, lambda file: torch.save(content, file))
