"""Run an exported model on clips: python run_file.py MODEL CLIPS.npy LOGITS.npy [CLIPS LOGITS ...].

It needs nothing of sta, only torch for a .pt2 or onnxruntime for an .onnx; copy it where you like.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np


def load_file(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from clips to logits.

    Args:
        path: an .onnx or a .pt2 file.

    Returns:
        Maps (B, 3, frames, H, W), float32 or uint8 as the model's JSON says, to (B, classes)
        float32.
    """
    if path.endswith('.onnx'):
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
        return lambda clips: session.run(['logits'], {'clips': clips})[0]
    import torch

    model = torch.export.load(path).module()

    def run(clips: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(clips)).numpy()

    return run


if __name__ == '__main__':
    classify = load_file(sys.argv[1])
    for clips_path, logits_path in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
        np.save(logits_path, classify(np.load(clips_path)))
