"""Package metadata; the version lives in sta/__init__.py, the requirements in requirements*.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """Version from the source text: importing sta would need what is being installed."""
    text = (ROOT / 'sta' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE).group(1)


def read_requirements(name: str) -> list:
    """Requirement lines of a file, without comments."""
    lines = (ROOT / name).read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith('#')]


setup(
    name='sta',
    version=read_version(),
    description='Training-free token pruning for video transformers: accuracy next to GFLOPs',
    author='The sta authors',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['sta', 'sta.*']),
    package_data={
        'sta.datasets': ['classes/*.txt'],
        'sta.paper': ['*.json'],
        'sta.report.page': ['*.html'],
    },
    install_requires=read_requirements('requirements.txt'),
    extras_require={
        'dev': read_requirements('requirements-dev.txt'),
        'export': [line for line in read_requirements('requirements-dev.txt') if 'onnx' in line],
    },
)
