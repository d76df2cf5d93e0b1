"""The Dags, as Airflow's parser sees them; no database, no scheduler."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.airflow_environment import ENVIRONMENT

ROOT = Path(__file__).parents[2]

# Airflow reads its settings when it is imported, and writes to its home.
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
    """Import Airflow before any plugin: it imports its policies, and those import other plugins."""
    import airflow  # noqa: F401


@pytest.fixture(scope="session")
def bag() -> object:
    """Return all Dags."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags"))
