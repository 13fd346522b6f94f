from tests.tools.conftest import tiny  # noqa: F401  (a fixture of both folders)
