"""Does it work? Small things that are really done, not only looked up."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sta.compat import WORKAROUNDS, first_line, heal_host
from sta.environment import distribution_version
from sta.errors import HostError
from sta.repair import return_to_numpy_1, torch_needs_numpy_1

from .finding import Check, Finding, State
from .packages import HOST, absent_package, mend_of


@dataclass(frozen=True)
class Probe:
    """One thing to try.

    Attributes:
        subject: what is tried.
        proves: what its success means.
        needs: distributions of packages.PACKAGES without which trying is pointless.
        attempt: does it and says what it saw; raises when it does not work.
        blamed: distribution to write anew where the error itself points at none.
    """

    subject: str
    proves: str
    needs: tuple[str, ...]
    attempt: Callable[[], str]
    blamed: str = ''


def probe_checks() -> Iterator[Check]:
    """The work-arounds, and what is tried with them in force."""
    yield Check('work-arounds', heal)
    for probe in PROBES:
        yield Check(probe.subject, lambda unusable, p=probe: [try_probe(p, unusable)])


def try_probe(probe: Probe, unusable: set[str]) -> Finding:
    """Try one thing, unless it cannot work; never raises."""
    culprits = sorted(unusable & set(probe.needs))
    if culprits:
        reason = f'needs {", ".join(culprits)}'
        return Finding(probe.subject, reason, probe.proves, State.SKIPPED)
    try:
        return Finding(probe.subject, probe.attempt(), probe.proves, State.OK)
    except (Exception, SystemExit) as error:  # a probe is there to fail
        missing = absent_package(error)
        if missing in unusable:
            return Finding(probe.subject, f'needs {missing}', probe.proves, State.SKIPPED)
        mend = mend_of_probe(probe, error)
        return Finding(probe.subject, first_line(error), probe.proves, State.BROKEN, mend)


def mend_of_probe(probe: Probe, error: BaseException) -> str:
    """The command for what a probe ran into; empty where no package is at fault."""
    numpy = distribution_version('numpy') or ''
    if probe.attempt is try_arrays and torch_needs_numpy_1() and not numpy.startswith('1.'):
        return return_to_numpy_1()
    return mend_of(error, probe.blamed)


def heal(unusable: set[str]) -> Iterator[Finding]:
    """Apply sta.compat and report each work-around in force."""
    culprits = sorted(unusable & set(HOST))
    if culprits:
        reason = f'needs {", ".join(culprits)}'
        yield Finding('work-arounds', reason, 'sta.compat', State.SKIPPED)
        return
    try:
        in_force = heal_host()
    except HostError as error:
        reason, _, mend = str(error).partition(' Mend: ')
        yield Finding('work-arounds', reason, 'sta.compat', State.BROKEN, mend)
        return
    except (Exception, SystemExit) as error:
        mend = mend_of(error, 'mmengine')
        yield Finding('work-arounds', first_line(error), 'sta.compat', State.BROKEN, mend)
        return
    for workaround in WORKAROUNDS:
        if workaround.name in in_force:
            yield Finding(workaround.name, workaround.defect, 'sta.compat', State.HEALED)


def try_devices() -> str:
    """Name the GPUs PyTorch can use, or say that there are none."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f'CUDA {torch.version.cuda}: {", ".join(names)}'
    if torch.version.cuda is not None:
        return f'CPU only: built for CUDA {torch.version.cuda}, but no usable GPU or driver'
    return f'CPU only, {torch.get_num_threads()} threads'


def try_arrays() -> str:
    """Pass an array to torch and back: fails for torch < 2.3 with numpy 2."""
    import numpy as np
    import torch

    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    if not np.array_equal(torch.from_numpy(array).mul(2).numpy(), array * 2):
        raise ValueError('numpy -> torch -> numpy changed the values')
    return 'numpy <-> torch'


def try_attention() -> str:
    """Compare fused attention with its formula."""
    import torch
    import torch.nn.functional as F

    q, k, v = torch.linspace(-1, 1, 3 * 2 * 5 * 4).reshape(3, 1, 2, 5, 4)
    expected = (q @ k.transpose(-2, -1) / 4**0.5).softmax(-1) @ v
    difference = (F.scaled_dot_product_attention(q, k, v) - expected).abs().max().item()
    if difference > 1e-5:
        raise ValueError(f'fused attention is off by {difference:.1e}')
    return f'within {difference:.0e} of the formula'


def try_pruning() -> str:
    """Let one stage drop tokens of a made clip: what sta.apply does in every block it is given."""
    import torch

    from sta.pruning import prune_stage

    tokens = torch.linspace(-1, 1, 8 * 16 * 4).sin().reshape(1, 8 * 16, 4)
    kept, index = prune_stage(tokens, tokens, num_chunks=8, num_drop=4)
    if not torch.equal(kept, tokens[:, index[0]]) or kept.shape[1] != 8 * 12:
        raise ValueError(f'kept {tuple(kept.shape)}, not the tokens of its own index')
    return f'{kept.shape[1]} of {tokens.shape[1]} tokens kept'


def try_host_models() -> str:
    """Import mmaction's models, which its wheel alone does not allow."""
    import mmaction.models  # noqa: F401
    from mmaction.registry import MODELS

    return f'{len(MODELS.module_dict)} models registered'


def try_backbone() -> str:
    """Build a small STA backbone through the registry and let it drop tokens of one clip."""
    import torch
    from mmaction.registry import MODELS

    import sta.models  # noqa: F401

    size = dict(img_size=32, patch_size=16, embed_dims=32, depth=3, num_heads=2, num_frames=16)
    backbone = MODELS.build(dict(type='STAVisionTransformer', schedule=1, **size)).eval()
    with torch.no_grad():
        features, kept = backbone(torch.zeros(1, 3, 16, 32, 32), return_kept=True)
    return f'{tuple(features.shape)} features, {kept[-1].shape[1]} of 32 tokens kept'


def try_video() -> str:
    """Encode six grey frames as H.264 with PyAV and read them back with decord."""
    import av
    import numpy as np
    from decord import VideoReader

    greys = [30, 60, 90, 120, 150, 180]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, 'probe.mp4'))
        with av.open(path, 'w') as container:
            stream = container.add_stream('libx264', rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
            for grey in greys:
                image = np.full((48, 64, 3), grey, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format='rgb24')
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        frames = VideoReader(path, num_threads=1).get_batch(range(len(greys))).asnumpy()
    worst = np.abs(frames.mean((1, 2, 3)) - greys).max()
    if frames.shape != (len(greys), 48, 64, 3) or worst > 4:
        raise ValueError(f'decoded {frames.shape}, brightness off by {worst:.1f} of 255')
    return f'{len(greys)} frames of 64x48, brightness within {worst:.1f} of 255'


PROBES = (
    Probe('devices', 'what computes', ('torch',), try_devices, 'torch'),
    Probe('arrays', 'torch and numpy fit together', ('torch', 'numpy'), try_arrays, 'torch'),
    Probe('attention', 'fused attention', ('torch',), try_attention, 'torch'),
    Probe('pruning', 'a stage drops tokens', ('torch', 'einops'), try_pruning, 'torch'),
    Probe(
        'mmaction.models',
        'imports once healed',
        (*HOST, 'work-arounds'),
        try_host_models,
        'mmaction2',
    ),
    Probe(
        'backbone',
        'a registered model runs',
        (*HOST, 'einops', 'work-arounds'),
        try_backbone,
        'mmaction2',
    ),
    Probe('video', 'H.264 by PyAV, read by decord', ('av', 'decord', 'numpy'), try_video, 'decord'),
)
