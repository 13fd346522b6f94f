"""Package metadata; the version lives in sta/__init__.py, the requirements in requirements*.txt.

`pip install .` brings what `sta.apply` needs and nothing of OpenMMLab, since extras can only add.
`pip install ".[all]"` brings what the tools need, as `make install` does.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# What `sta.apply` imports.
LIGHT = ('torch', 'einops')


def read_version() -> str:
    """Version from the source text: importing sta would need what is being installed."""
    text = (ROOT / 'sta' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE).group(1)


def read_requirements(name: str) -> list:
    """Requirement lines of a file, without comments."""
    lines = (ROOT / name).read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def name_of(requirement: str) -> str:
    """The distribution that a requirement line asks for."""
    return re.match(r'[\w.-]+', requirement).group()


REQUIREMENTS = read_requirements('requirements.txt')
FOR_DEVELOPMENT = read_requirements('requirements-dev.txt')

setup(
    name='sta',
    version=read_version(),
    description='Training-free token pruning for video transformers: accuracy next to GFLOPs',
    author='The sta authors',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['sta', 'sta.*']),
    package_data={
        'sta': ['py.typed'],
        'sta.datasets': ['classes/*.txt'],
        'sta.paper': ['*.json'],
        'sta.report': ['*.html'],
    },
    install_requires=[line for line in REQUIREMENTS if name_of(line) in LIGHT],
    extras_require={
        'all': REQUIREMENTS,
        'dev': [*REQUIREMENTS, *FOR_DEVELOPMENT],
        'export': [*REQUIREMENTS, *(line for line in FOR_DEVELOPMENT if 'onnx' in line)],
    },
)
