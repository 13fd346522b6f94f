"""STA: training-free token pruning for video transformers, with accuracy next to GFLOPs."""

__version__ = '0.1.0'
__all__ = ['HostModelError', 'apply', 'kept', 'pruned', 'remove']


def __getattr__(name: str) -> object:
    """Names of sta.hosts, imported when first asked for: `import sta` alone imports no torch."""
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module

    return getattr(import_module('sta.hosts'), name)


def __dir__() -> 'list[str]':  # quoted for Pythons that the doctor only tells their age
    return sorted({*globals(), *__all__})
