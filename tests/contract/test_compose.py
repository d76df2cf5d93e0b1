"""The image and the Compose file agree with the declarations and the local stack."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import healthy, worker, workers
from dev.stack import airflow_environment
from dev.stack.airflow_environment import SETTINGS
from dev.stack.programs import worker_program_name
from etl.catalog.queues import QUEUES, WORKER_GROUPS
from etl.declare.queue import WorkerGroup, queues_served

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
SECRET = re.compile(r"PASSWORD|SECRET|KEY")
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)(?::([-?+])([^}]*))?\}")
GROUPS = pytest.mark.parametrize("group", WORKER_GROUPS, ids=lambda group: group.name)


def image_environment() -> dict[str, str]:
    instructions = DOCKERFILE.replace("\\\n", " ").splitlines()
    words = (word for line in instructions if line.startswith("ENV ") for word in shlex.split(line)[1:])
    return dict(word.split("=", 1) for word in words)


def default(text: str) -> str:
    match = VARIABLE.fullmatch(text)
    return match[3] if match else text


def sluice_services() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in SERVICES.items() if "SLUICE_IMAGE" in service["image"]}


def test_the_image_sets_every_airflow_setting_that_is_shared_with_the_local_stack() -> None:
    shared_settings = airflow_environment.to_environment(SETTINGS)
    assert {name: image_environment().get(name) for name in shared_settings} == shared_settings


def test_no_service_overrides_an_airflow_setting_that_is_shared_with_the_local_stack() -> None:
    shared_settings = set(airflow_environment.to_environment(SETTINGS))
    assert {
        name: shared_settings & set(service.get("environment", {})) for name, service in sluice_services().items()
    } == {name: set() for name in sluice_services()}


def test_connections_to_providers_reach_the_workers_only_and_are_in_no_repository() -> None:
    worker_services = {worker_program_name(group) for group in WORKER_GROUPS}
    # The last one requires a file that is named.
    own = [{"path": "${CONNECTIONS_FILE:-connections.env}", "required": False}, "${CONNECTIONS_FILE:-/dev/null}"]
    with_own = {name: service["env_file"] for name, service in SERVICES.items() if "env_file" in service}
    assert with_own == dict.fromkeys(worker_services, own)
    # The demo enrols users of the sandbox bank.
    with_plaid = {name for name, service in SERVICES.items() if "AIRFLOW_CONN_PLAID" in service.get("environment", {})}
    assert with_plaid == {*worker_services, "demo"}
    assert "connections.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    # Nothing but what is listed reaches a build.
    assert "*" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_a_folder_of_a_catalogue_is_read_only_and_never_made_where_it_does_not_exist() -> None:
    mounts = [volume for name in SERVICES for volume in SERVICES[name].get("volumes", ()) if isinstance(volume, dict)]
    assert len(mounts) == len(sluice_services()) + 1  # the demo's, too
    assert all(mount["read_only"] and not mount["bind"]["create_host_path"] for mount in mounts)


def test_each_worker_group_has_its_own_service() -> None:
    assert {name for name in SERVICES if name.startswith("worker-")} == {
        worker_program_name(group) for group in WORKER_GROUPS
    }


@GROUPS
def test_the_service_of_a_group_runs_its_workers(group: WorkerGroup) -> None:
    command = SERVICES[worker_program_name(group)]["command"]
    assert command[:3] == ["python", "-m", "deploy.worker"]
    arguments = worker.command(command[3:])
    assert arguments[arguments.index("--queues") + 1] == ",".join(q.name for q in queues_served(group, QUEUES))
    assert arguments[arguments.index("--concurrency") + 1] == str(group.processes)


@GROUPS
def test_the_memory_limit_of_a_worker_is_what_its_tasks_may_need(group: WorkerGroup) -> None:
    assert default(SERVICES[worker_program_name(group)]["mem_limit"]) == f"{workers.memory_mib(group, QUEUES)}m"


@GROUPS
def test_a_worker_has_fewer_cpu_shares_exactly_if_all_its_queues_have_a_niceness(group: WorkerGroup) -> None:
    shares = int(default(SERVICES[worker_program_name(group)].get("cpu_shares", "1024")))
    assert (shares < 1024) == all(queue.niceness for queue in QUEUES if queue.group == group)


@GROUPS
def test_the_health_check_of_a_worker_names_its_group(group: WorkerGroup) -> None:
    assert SERVICES[worker_program_name(group)]["healthcheck"]["test"][-1] == group.name


@pytest.mark.parametrize("name", ["api-server", *healthy.JOBS])
def test_the_health_check_of_a_component_names_it(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][-2:] == ["deploy.healthy", name]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_memory_limit_a_health_check_and_minimal_privileges(name: str) -> None:
    service = SERVICES[name]
    assert "mem_limit" in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("no" if name in ("init", "demo") else "unless-stopped")
    assert name in ("init", "demo") or "healthcheck" in service
    assert name == "postgres" or (service["read_only"] and service["cap_drop"] == ["ALL"])


def test_postgres_of_any_version_keeps_its_data_in_the_volume() -> None:
    postgres = SERVICES["postgres"]
    assert postgres["volumes"] == [f"postgres:{postgres['environment']['PGDATA']}"]


def test_only_the_web_ui_is_published_and_only_on_this_host() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api-server": ["${UI_HOST:-127.0.0.1}:${UI_PORT:-8080}:8080"]}


def test_no_secret_has_a_default() -> None:
    with_default = [match[0] for match in VARIABLE.finditer(COMPOSE) if SECRET.search(match[1]) and match[2] == "-"]
    assert with_default == []


def test_no_secret_is_written_in_the_image_or_the_compose_file() -> None:
    assert [name for name in image_environment() if SECRET.search(name)] == []
    plain = {
        (name, variable)
        for name, service in SERVICES.items()
        for variable, value in service.get("environment", {}).items()
        if re.search(r"(PASSWORD|SECRET|KEY|KEYS)$", variable) and not VARIABLE.fullmatch(value)
    }
    assert plain == set()


def test_a_missing_secret_is_refused_with_a_message() -> None:
    secrets = {line[:-1] for line in EXAMPLE.splitlines() if line.endswith("=") and not line.startswith("#")}
    required = {match[1] for match in VARIABLE.finditer(COMPOSE) if match[2] == "?"}
    assert secrets - required == set()


def test_the_example_documents_every_setting_with_its_default() -> None:
    documented = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert {match[1] for match in VARIABLE.finditer(COMPOSE)} == set(documented)
    given = [(match[1], match[3]) for match in VARIABLE.finditer(COMPOSE) if match[2] == "-"]
    # /dev/null stands for no file.
    defaults = {name: "" for name, _ in given} | {name: value for name, value in given if value != "/dev/null"}
    assert {name: documented[name] for name in defaults} == defaults
