import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fuzzing: sends many generated requests; takes most of a minute")
