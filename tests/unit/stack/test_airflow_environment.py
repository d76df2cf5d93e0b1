import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from dev.stack.airflow_environment import SETTINGS, folder_settings, secret_settings, server_settings, to_environment
from dev.stack.home import Home
from tests.unit.stack.samples import PORTS, SECRETS, make_plan

UNDOCUMENTED = {("scheduler", "num_stuck_in_queued_retries")}


@pytest.fixture(scope="module")
def documented() -> set[tuple[str, str]]:
    spec = find_spec("airflow")
    airflow = Path(next(iter(spec.submodule_search_locations or [])) if spec else "")
    sections = [airflow / "config_templates/config.yml", *airflow.glob("providers/celery/get_provider_info.py")]
    options: set[tuple[str, str]] = set()
    section = ""
    for line in "\n".join(path.read_text() for path in sections).splitlines():
        if heading := re.match(r'([a-z_]+):$|            "([a-z_]+)": \{$', line):
            section = heading[1] or heading[2]
        elif option := re.match(r'    ([a-z_]+):$|                    "([a-z_]+)": \{$', line):
            options.add((section, option[1] or option[2]))
    return options


def test_every_setting_exists_in_the_installed_airflow(tmp_path: Path, documented: set[tuple[str, str]]) -> None:
    tables = (
        SETTINGS,
        folder_settings(Home(tmp_path), tmp_path),
        server_settings(PORTS, make_plan(tmp_path).servers),
        secret_settings(SECRETS),
    )
    configured = {(section, option) for table in tables for section in table for option in table[section]}
    # An option of the Redis transport, to which Airflow passes all options of this section.
    configured.discard(("celery_broker_transport_options", "queue_order_strategy"))
    assert configured - documented == UNDOCUMENTED


def test_settings_become_airflows_variables() -> None:
    assert to_environment({"core": {"executor": "a"}}, {"core": {"fernet_key": "b"}}) == {
        "AIRFLOW__CORE__EXECUTOR": "a",
        "AIRFLOW__CORE__FERNET_KEY": "b",
    }


def test_both_database_engines_of_airflow_use_one_driver(tmp_path: Path) -> None:
    variables = make_plan(tmp_path).env_file_variables
    assert variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith("postgresql+psycopg://")
    assert variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"] == variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert variables["AIRFLOW__CELERY__RESULT_BACKEND"] == f"db+{variables['AIRFLOW__DATABASE__SQL_ALCHEMY_CONN']}"
