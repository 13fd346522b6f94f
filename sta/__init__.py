"""STA: training-free token pruning for video transformers, with accuracy next to GFLOPs."""

__version__ = '0.1.0'
