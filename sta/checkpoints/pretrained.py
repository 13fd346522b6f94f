"""Start a training from somebody's encoder: the body is loaded strictly, the head begins anew."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from torch import Tensor, nn

from .loader import LoadReport, given_contents, load_translated
from .naming import Translation, translate

# What self-supervised models have beside their encoder.
_DECODER = re.compile(r'^(decoder\.|encoder_to_decoder\.|mask_token$)')
_HEAD = 'cls_head.'
# Norms behind the last block: VideoMAE is pre-trained with one before its decoder and fine-tuned
# with another one behind the mean over tokens.
_LAST_NORMS = ('backbone.fc_norm.', 'backbone.norm.')


def load_encoder(model: nn.Module, source: str | os.PathLike | Mapping[str, Tensor]) -> LoadReport:
    """Load a backbone from a pre-trained or fine-tuned model; the classifier keeps its own weights.

    Every weight of embedding and blocks must be there and fit. What remains of the file, a decoder,
    a classifier of other classes, a last norm the model has no place for, is left out and reported.

    Args:
        model: recognizer with ``backbone`` and ``cls_head``.
        source: see :func:`sta.checkpoints.load_checkpoint`; also pre-training checkpoints of the
            authors of VideoMAE and Hugging Face's ``VideoMAEForPreTraining``.

    Returns:
        A report, which names the weights that begin anew.

    Raises:
        CheckpointError: unknown names, or a weight of embedding or blocks that is missing,
            unexpected or of another shape. The model is left as it was.
    """
    where, given = given_contents(source)
    translation = translate(given.tensors, where)
    own = model.state_dict()
    left_out = [name for name in translation.tensors if _is_left_out(name, own)]
    chosen = {n: t for n, t in translation.tensors.items() if n not in left_out}
    anew = [n for n in own if n.startswith((_HEAD, *_LAST_NORMS)) and n not in chosen]
    return load_translated(
        model,
        Translation(translation.source, chosen, (*sorted(left_out), *translation.left_out)),
        where,
        anew=anew,
        notes=given.notes,
    )


def _is_left_out(name: str, own: Mapping[str, Tensor]) -> bool:
    if name.startswith(_HEAD) or _DECODER.match(name):
        return True
    return name.startswith(_LAST_NORMS) and name not in own
