"""Airflow settings for tests that start parts of Airflow: those of the local stack, with throwaway secrets."""

from __future__ import annotations

from cryptography.fernet import Fernet

from dev.stack.airflow_environment import SETTINGS, to_environment

ENVIRONMENT = {
    **to_environment(SETTINGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
    "AIRFLOW__API_AUTH__JWT_SECRET": "of-the-tests-" * 8,
    "SLUICE_KEYS": Fernet.generate_key().decode(),
    "SLUICE_RAW_ROOT": "memory://raw",
}
