"""Example clips beside the results: written once with the model at hand, read for every page."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

from sta.atomic import replacing, write_text
from sta.errors import DataError
from sta.visualization import Examples

FOLDER, LIST = 'examples', 'examples.json'
SUFFIX = '.webp'
NONE_MADE = 'No example clips: tools/test.py --examples N makes them.'


class ShownStrip(NamedTuple):
    """One row of an example on the page.

    Attributes:
        label: above it.
        alt: for those who do not see it.
        width, height: in pixels.
        source: data URL.
    """

    label: str
    alt: str
    width: int
    height: int
    source: str


class ShownExample(NamedTuple):
    """A video on the page.

    Attributes:
        name: file name.
        caption: class, predictions and view.
        strips: its rows.
    """

    name: str
    caption: str
    strips: tuple[ShownStrip, ...]


def write_examples(examples: Examples, folder: Path) -> Path:
    """Write the pictures, and last the list that names them.

    Returns:
        The folder inside of ``folder`` that holds them.

    Raises:
        OSError: it cannot be written.
    """
    folder = Path(folder) / FOLDER
    listed = []
    for number, example in enumerate(examples.shown, start=1):
        strips = []
        for row, strip in enumerate(example.strips):
            name = f'{number:02d}_{row}{SUFFIX}'
            with replacing(folder / name) as temporary:
                temporary.write_bytes(strip.image)
            strips.append({**strip._asdict(), 'image': name})
        listed.append({'name': example.name, 'caption': example.caption, 'strips': strips})
    text = json.dumps({'note': examples.note, 'examples': listed}, indent=2)
    write_text(folder / LIST, text + '\n')
    return folder


def read_examples(folder: Path) -> tuple[tuple[ShownExample, ...], str]:
    """The examples of a folder of results and their note; none and why where there are none.

    Raises:
        DataError: the list or a picture is damaged.
    """
    path = Path(folder) / FOLDER / LIST
    if not path.is_file():
        return (), NONE_MADE
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        shown = tuple(_example(example, path.parent) for example in found['examples'])
        return shown, str(found['note'])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f'{path} or a picture that it names is damaged ({error}); without the folder '
            f'{path.parent.name} the page is made without examples'
        ) from None


def _example(found: dict[str, Any], folder: Path) -> ShownExample:
    strips = tuple(_strip(strip, folder) for strip in found['strips'])
    return ShownExample(str(found['name']), str(found['caption']), strips)


def _strip(found: dict[str, Any], folder: Path) -> ShownStrip:
    name = str(found['image'])
    if Path(name).name != name or not name.endswith(SUFFIX):
        raise ValueError(f'{name!r} is no name of a {SUFFIX} file in this folder')
    data = base64.b64encode((folder / name).read_bytes()).decode('ascii')
    return ShownStrip(
        str(found['label']),
        str(found['alt']),
        int(found['width']),
        int(found['height']),
        f'data:image/webp;base64,{data}',
    )
