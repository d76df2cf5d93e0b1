"""`python -m dev.compose`: build the image, start the stack, use it, break it, restore it; leave nothing behind.

It needs a Docker engine with Compose, and fails as soon as anything is not as it should be.
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

import httpx

from deploy import environment_file
from dev.compose import breaking, expected, logins, memory, refusals
from dev.compose.expectation import ExpectationFailed, expect
from dev.compose.project import CommandFailed, Project
from dev.demo.airflow_api import AirflowApi, AirflowTimeout
from dev.demo.enrol import DEFAULT_USERS
from dev.servers.ports import LOOPBACK, candidates, is_free

WORKER = "worker-low-priority"
IMAGES = {"SLUICE_IMAGE": "sluice-test:latest", "SLUICE_DEMO_IMAGE": "sluice-demo-test:latest"}
POSTGRES_IMAGES = ("postgres:17", "postgres:18", "postgres:16", "postgres:15")
_MIB = 1 << 20
_MAX_REMOVALS = 3
_FIRST_NEW_CHUNK = 5
"""Of the ten of the second run; the first five are of users that the first run has read."""
_KNOWN_ERRORS = (CommandFailed, ExpectationFailed, AirflowTimeout, httpx.HTTPError, TimeoutError)


def main() -> None:
    """Run the test; its last line says how long it took."""
    began = time.monotonic()
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
    _say(f"compose-test: passed in {time.monotonic() - began:.0f} s")


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
    with _step("a part that does not beat is told from one that does"):
        for part in ("triggerer", "low_priority"):
            done = project.run_unchecked(
                (*project.compose_command, "exec", "-T", "scheduler", "python", "-m", "deploy.healthy", part)
            )
            expect(done.returncode == 1, f"the scheduler's container is said to be a healthy {part}")
    with _step("the demo brings what the bank holds"):
        idle = memory.current_usage(project)
        with memory.track_peak(project) as most:
            _expect_arrived(_run_demo(project, DEFAULT_USERS), expected.size(DEFAULT_USERS, day=day), inserted=True)
        _show_memory(idle, most)
    with _step("a killed worker takes no chunk with it"):
        brought = _run_demo_with_kill(project, 2 * DEFAULT_USERS, folder)
        _expect_arrived(brought, expected.size(2 * DEFAULT_USERS, day=day), inserted=True)
    backup = folder / "backup"
    with _step("databases and raw store are backed up"):
        _say(project.run(("deploy/backup", str(backup))))
    with _step("everything is removed, and restored"):
        project.compose("down", "--volumes", "--remove-orphans")
        expect(not project.leftovers(), f"`down --volumes` leaves {project.leftovers()}")
        project.run(("deploy/restore", str(backup)))
        project.compose("up", "--detach", "--wait")
    with _step("after it, nothing is missing, and nothing is brought twice"):
        replay = ("python", "-m", "etl", "replay", "transactions", "--diff", "--rows=0")
        said = project.compose("exec", "-T", WORKER, *replay)
        expect("transactions: 0 rows would change" in said, f"the restored batches make other rows:\n{said}")
        _expect_arrived(
            _run_demo(project, 2 * DEFAULT_USERS), expected.size(2 * DEFAULT_USERS, day=day), inserted=False
        )
    with _step("FAB lets its first user in"):
        logins.check_fab_login(project)


def _run_demo(project: Project, users: int) -> dict[str, Any]:
    out = project.compose("run", "--rm", "-T", "demo", "python", "-m", "dev.demo.inside", "--users", str(users))
    return _parse_summary(out)


def _run_demo_with_kill(project: Project, users: int, folder: Path) -> dict[str, Any]:
    project.compose("up", "--detach", "--wait", "--no-recreate", "--scale", f"{WORKER}=2")
    expect(len(project.containers(WORKER)) == 2, "there is no second worker")  # noqa: PLR2004
    output = folder / "demo.log"
    # With what it depends on, `run` would take the second worker away.
    command = ("run", "--rm", "--no-deps", "-T", "demo", "python", "-m", "dev.demo.inside", "--users", str(users))
    with project.start(*command, output=output) as demo:
        attempt = breaking.wait_for_download(project, first=_FIRST_NEW_CHUNK)
        expect(f"http://{attempt.hostname}" in _task_log(project, attempt), "the web UI has no log of a worker at work")
        attempt = breaking.wait_for_download(project, first=_FIRST_NEW_CHUNK)
        breaking.kill(project, attempt)
        _say(f"  killed {attempt.hostname} in {attempt.task_id}[{attempt.map_index}]")
        code = demo.wait()
    out = output.read_text(encoding="utf-8", errors="replace")
    expect(code == 0, f"the run did not end complete:\n{out}")
    again = breaking.count_retried(project, attempt.run_id)
    expect(again > 0, "nothing was tried again: the worker was not killed in the middle of one")
    expect("/srv/sluice/logs/" in _task_log(project, attempt), "the log of the killed worker is lost")
    _say(f"  {again} tasks of chunks were begun once more")
    return _parse_summary(out)


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
    found = re.search(r"^demo: (\{.*\})$", output, re.MULTILINE)
    if found is None:
        raise ExpectationFailed(f"the demo ended without a summary:\n{output}")
    _say(f"  {found[0]}")
    summary: dict[str, Any] = json.loads(found[1])
    return summary


def _expect_arrived(summary: dict[str, Any], expected_counts: dict[str, int], *, inserted: bool) -> None:
    got = {name: summary[name] for name in expected_counts}
    expect(got == expected_counts, f"the bank holds {expected_counts}, and the warehouse {got}")
    expect(summary["rejected"] == 0, f"{summary['rejected']} records were rejected")
    expect((summary["inserted"] > 0) is inserted, f"{summary['inserted']} rows were inserted")


def _show_memory(idle: dict[str, float], peak: dict[str, float]) -> None:
    for name in sorted(idle):
        _say(f"  {name:<26} {idle[name]:>7.0f} MiB idle {peak.get(name, 0.0):>7.0f} MiB at most")


@contextmanager
def _step(name: str) -> Iterator[None]:
    _say(f"{name} …")
    began = time.monotonic()
    yield
    _say(f"  done in {time.monotonic() - began:.0f} s")


def _create_project(folder: Path) -> Project:
    port = next(port for port in candidates() if is_free(port))
    env_file = folder / "env"
    text = environment_file.fill_secrets(environment_file.EXAMPLE.read_text(encoding="utf-8"))
    environment_file.write(env_file, f"{text}UI_PORT={port}\nUI_URL=http://{LOOPBACK}:{port}\n")
    name = f"sluice-test-{os.getpid()}"
    compose = f"docker compose --project-name {name} --env-file {env_file}"
    return Project(name, env_file, {"POSTGRES_IMAGE": _postgres_image(), **os.environ, **IMAGES, "COMPOSE": compose})


def _postgres_image() -> str:
    """Return the image of Postgres that the engine has, or else the one that it can fetch."""
    for image in POSTGRES_IMAGES:
        if not subprocess.run(("docker", "image", "inspect", image), capture_output=True, check=False).returncode:
            return image
    return POSTGRES_IMAGES[0]


def _remove(project: Project) -> None:
    images = (*IMAGES.values(), logins.FAB_SETTINGS["SLUICE_IMAGE"])
    # More than once: a container of `run --rm` that removes itself meanwhile makes `down` stop half-way.
    for _ in range(_MAX_REMOVALS):
        down = project.run_unchecked((*project.compose_command, "--profile", "*", "down", "--volumes", "--timeout=20"))
        if not (left := project.leftovers()):
            break
    project.run_unchecked(("docker", "image", "rm", "--force", *images))
    if left:
        _say(f"error: left behind: {', '.join(left)}; {down.stderr}")
        sys.exit(1)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    main()
