"""`python -m dev.compose`: test the Compose stack: build the images, run, break, back up, restore and remove it.

It needs a Docker engine with Compose, and stops at the first failure.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy import environment_file
from dev.compose import breaking, expected, logins, memory, own_catalog, refusals
from dev.compose.expectation import ExpectationFailed, expect
from dev.compose.project import CommandFailed, Project
from dev.demo.airflow_api import AirflowApi, AirflowTimeout
from dev.demo.enrol import DEFAULT_USERS
from dev.servers.ports import LOOPBACK, candidates, is_free
from etl.errors import SluiceError

WORKER = "worker-low-priority"
IMAGES = {"SLUICE_IMAGE": "sluice-test:latest", "SLUICE_DEMO_IMAGE": "sluice-demo-test:latest"}
SHIPPED = {"SLUICE_CATALOG": "", "CONNECTIONS_FILE": os.devnull}
"""The shipped catalogue and no more connections, whatever this shell and this folder have."""
POSTGRES_IMAGES = ("postgres:17", "postgres:18", "postgres:16", "postgres:15")
_MIB = 1 << 20
_MAX_REMOVALS = 3
_FIRST_NEW_CHUNK = 5
"""Of the ten chunks of the second run; the first five hold users whose transactions the first run read."""
_KNOWN_ERRORS = (CommandFailed, ExpectationFailed, AirflowTimeout, SluiceError, TimeoutError)


def main() -> None:
    """Run the test; the last line of the output is its duration."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sluice-compose-") as folder:
        project = _create_project(Path(folder))
        try:
            _run_test(project, Path(folder))
        except _KNOWN_ERRORS as error:
            _say(f"error: {error}")
            _say(project.run_unchecked((*project.compose_command, "--profile", "demo", "logs", "--tail=15")).stdout)
            sys.exit(1)
        finally:
            _remove(project)
    _say(f"compose-test: passed in {time.monotonic() - started:.0f} s")


def _run_test(project: Project, folder: Path) -> None:
    day = datetime.now(UTC).date()
    with _step("a missing secret is refused"):
        refusals.check_missing_secret(project, folder)
    with _step("the images are built"):
        project.compose("build")
        for image in IMAGES.values():
            _say(f"  {image}: {project.inspect('image', image)['Size'] / _MIB:,.0f} MiB")
    with _step("images hold no secret"):
        for image in IMAGES.values():
            refusals.check_image_without_secrets(project, image)
    with _step("a weak secret is refused"):
        refusals.check_weak_secret(project)
    with _step("the stack is healthy"):
        project.compose("up", "--detach", "--wait")
    with _step("a component without a heartbeat is not healthy"):
        for component in ("triggerer", "low_priority"):
            done = project.run_unchecked(
                (*project.compose_command, "exec", "-T", "scheduler", "python", "-m", "deploy.healthy", component)
            )
            expect(done.returncode == 1, f"deploy.healthy calls the scheduler's container a healthy {component}")
    with _step("the demo loads all that the bank holds"):
        idle = memory.current_usage(project)
        with memory.track_peak(project) as peak:
            _expect_loaded(
                _run_demo(project, DEFAULT_USERS), expected.count_records(DEFAULT_USERS, day=day), inserted=True
            )
        _show_memory(idle, peak)
    with _step("no chunk is lost when a worker is killed"):
        summary = _run_demo_with_kill(project, 2 * DEFAULT_USERS, folder)
        _expect_loaded(summary, expected.count_records(2 * DEFAULT_USERS, day=day), inserted=True)
    backup = folder / "backup"
    with _step("databases and raw store are backed up"):
        _say(project.run(("deploy/backup", str(backup))))
    with _step("everything is removed, and restored"):
        project.compose("down", "--volumes", "--remove-orphans")
        expect(not project.leftovers(), f"`down --volumes` did not remove {project.leftovers()}")
        project.run(("deploy/restore", str(backup)))
        project.compose("up", "--detach", "--wait")
        project.compose("exec", "-T", WORKER, "python", "-m", "etl", "notify", "trust", "--since", "now")
    with _step("after the restore, nothing is missing, and nothing is loaded twice"):
        replay = ("python", "-m", "etl", "replay", "transactions", "--diff", "--rows=0")
        output = project.compose("exec", "-T", WORKER, *replay)
        expect("transactions: 0 rows would change" in output, f"replaying the restored batches changes rows:\n{output}")
        _expect_loaded(
            _run_demo(project, 2 * DEFAULT_USERS), expected.count_records(2 * DEFAULT_USERS, day=day), inserted=False
        )
    with _step("FAB accepts the login of its first user"):
        logins.check_fab_login(project)
    with _step("a catalogue and connections of one's own are used"):
        own_catalog.check_own_catalog(project, folder)


def _run_demo(project: Project, users: int) -> dict[str, Any]:
    return _parse_summary(
        project.compose("run", "--rm", "-T", "demo", "python", "-m", "dev.demo.in_container", "--users", str(users))
    )


def _run_demo_with_kill(project: Project, users: int, folder: Path) -> dict[str, Any]:
    project.compose("up", "--detach", "--wait", "--no-recreate", "--scale", f"{WORKER}=2")
    expect(len(project.containers(WORKER)) == 2, "there is no second worker")  # noqa: PLR2004
    output = folder / "demo.log"
    # Without `--no-deps`, `run` would scale the workers back to one.
    command = ("run", "--rm", "--no-deps", "-T", "demo", "python", "-m", "dev.demo.in_container", "--users", str(users))
    with project.start(*command, output=output) as demo:
        attempt = breaking.wait_for_download(project, first=_FIRST_NEW_CHUNK)
        expect(f"http://{attempt.hostname}" in _task_log(project, attempt), "the web UI has no log of a running task")
        attempt = breaking.wait_for_download(project, first=_FIRST_NEW_CHUNK)
        breaking.kill(project, attempt)
        _say(f"  killed {attempt.hostname} in {attempt.task_id}[{attempt.map_index}]")
        code = demo.wait()
    text = output.read_text(encoding="utf-8", errors="replace")
    expect(code == 0, f"the demo failed:\n{text}")
    retried = breaking.count_retried(project, attempt.run_id)
    expect(retried > 0, "no task was retried: the worker was not killed during a task")
    expect("/srv/sluice/logs/" in _task_log(project, attempt), "the log of the killed worker is lost")
    _say(f"  {retried} tasks of chunks were retried")
    return _parse_summary(text)


def _task_log(project: Project, attempt: breaking.TaskAttempt) -> str:
    settings = project.settings
    with AirflowApi(settings["UI_URL"], user="admin", password=settings["ADMIN_PASSWORD"]) as airflow:
        return airflow.task_log(
            "etl_transactions",
            attempt.run_id,
            attempt.task_id,
            map_index=attempt.map_index,
            attempt=attempt.try_number,
        )


def _parse_summary(output: str) -> dict[str, Any]:
    match = re.search(r"^demo: (\{.*\})$", output, re.MULTILINE)
    if match is None:
        raise ExpectationFailed(f"the demo ended without a summary:\n{output}")
    _say(f"  {match[0]}")
    summary: dict[str, Any] = json.loads(match[1])
    return summary


def _expect_loaded(summary: dict[str, Any], expected_counts: dict[str, int], *, inserted: bool) -> None:
    counts = {name: summary[name] for name in expected_counts}
    expect(counts == expected_counts, f"the bank holds {expected_counts}, and the warehouse {counts}")
    expect(summary["rejected"] == 0, f"{summary['rejected']} records were rejected")
    expect((summary["inserted"] > 0) is inserted, f"{summary['inserted']} rows were inserted")


def _show_memory(idle: dict[str, float], peak: dict[str, float]) -> None:
    for name in sorted(idle):
        _say(f"  {name:<26} {idle[name]:>7.0f} MiB idle {peak.get(name, 0.0):>7.0f} MiB peak")


@contextmanager
def _step(name: str) -> Iterator[None]:
    _say(f"{name} …")
    started = time.monotonic()
    yield
    _say(f"  done in {time.monotonic() - started:.0f} s")


def _create_project(folder: Path) -> Project:
    port = next(port for port in candidates() if is_free(port))
    env_file = folder / "env"
    text = environment_file.fill_secrets(environment_file.EXAMPLE.read_text(encoding="utf-8"))
    environment_file.write(env_file, f"{text}UI_PORT={port}\nUI_URL=http://{LOOPBACK}:{port}\n")
    name = f"sluice-test-{os.getpid()}"
    compose = f"docker compose --project-name {name} --env-file {env_file}"
    environment = {"POSTGRES_IMAGE": _postgres_image(), **os.environ, **IMAGES, **SHIPPED, "COMPOSE": compose}
    return Project(name, env_file, environment)


def _postgres_image() -> str:
    """Return the first of `POSTGRES_IMAGES` that the engine has; otherwise the first, which it can fetch."""
    for image in POSTGRES_IMAGES:
        if not subprocess.run(("docker", "image", "inspect", image), capture_output=True, check=False).returncode:
            return image
    return POSTGRES_IMAGES[0]


def _remove(project: Project) -> None:
    images = (*IMAGES.values(), logins.FAB_SETTINGS["SLUICE_IMAGE"])
    # Repeated: `down` stops half-way if a container of `run --rm` removes itself meanwhile.
    for _ in range(_MAX_REMOVALS):
        down = project.run_unchecked((*project.compose_command, "--profile", "*", "down", "--volumes", "--timeout=20"))
        if not (leftovers := project.leftovers()):
            break
    project.run_unchecked(("docker", "image", "rm", "--force", *images))
    if leftovers:
        _say(f"error: not removed: {', '.join(leftovers)}; {down.stderr}")
        sys.exit(1)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    main()
