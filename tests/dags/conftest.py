"""Fixtures: the Dags as Airflow's parser reads them, without a database and a scheduler."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.airflow_environment import ENVIRONMENT

ROOT = Path(__file__).parents[2]

# Set before Airflow is imported: it reads its settings then, and writes to its home.
os.environ.update(
    {
        **ENVIRONMENT,
        "AIRFLOW_HOME": tempfile.mkdtemp(prefix="sluice-dags-"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    }
)


@pytest.fixture(scope="session", autouse=True)
def initialised() -> None:
    """Import Airflow before any plugin: it imports the cluster policies, which import other plugins."""
    import airflow  # noqa: F401


@pytest.fixture(scope="session")
def bag() -> object:
    """Return all Dags."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags"))
