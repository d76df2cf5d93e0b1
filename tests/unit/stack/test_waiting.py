from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from dev.servers.errors import NotReady, ProgramDied
from dev.stack.home import Home
from dev.stack.status import COMPONENTS, StackStatus, unhealthy_components
from dev.stack.supervisor import ProgramState, Supervisor
from dev.stack.wait import until_ready

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class ScriptedSupervisor:
    def __init__(self, state: str) -> None:
        self._state = state

    def states(self) -> dict[str, ProgramState]:
        return {"scheduler": ProgramState("scheduler", self._state, 1, 1)}


def wait(home: Path, state: str, unready: Sequence[str]) -> None:
    until_ready(
        lambda: unready,
        programs=["scheduler"],
        supervisor=cast("Supervisor", ScriptedSupervisor(state)),
        home=Home(home),
        timeout=timedelta(0),
    )


def health(at: datetime, status: str = "healthy") -> dict[str, object]:
    return {component: {"status": status, f"latest_{component}_heartbeat": at.isoformat()} for component in COMPONENTS}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "scheduler.log").write_text("starting\nno such module\n")
    return tmp_path


def test_wait_returns_at_once_if_everything_is_ready(home: Path) -> None:
    wait(home, "RUNNING", [])


@pytest.mark.parametrize("unready", [["scheduler"], []], ids=["unready", "another program responds on its port"])
@pytest.mark.parametrize("state", ["BACKOFF", "EXITED", "FATAL"])
def test_program_that_ends_is_reported_at_once_with_its_log(home: Path, state: str, unready: list[str]) -> None:
    with pytest.raises(ProgramDied, match=r"(?s)scheduler ended at its start.*no such module"):
        wait(home, state, unready)


def test_wait_ends_after_the_timeout(home: Path) -> None:
    with pytest.raises(NotReady, match=r"(?s)scheduler did not answer within 0 seconds.*no such module"):
        wait(home, "RUNNING", ["scheduler"])


def test_airflow_is_healthy_once_every_component_has_sent_a_heartbeat() -> None:
    assert unhealthy_components(health(NOW), since=NOW) == []


def test_heartbeat_of_an_earlier_start_does_not_count() -> None:
    assert unhealthy_components(health(NOW - timedelta(seconds=1)), since=NOW) == list(COMPONENTS)


def test_component_without_a_heartbeat_is_not_healthy() -> None:
    assert unhealthy_components({"scheduler": {"status": None}}, since=NOW) == list(COMPONENTS)
    assert unhealthy_components(health(NOW, status="unhealthy"), since=NOW) == list(COMPONENTS)


def test_stack_is_up_if_every_program_is(tmp_path: Path) -> None:
    states = [ProgramState("valkey", "RUNNING", 7, 60), ProgramState("scheduler", "STARTING", 8, 1)]
    assert StackStatus(Home(tmp_path), tuple(states)).is_up
    assert not StackStatus(Home(tmp_path), (*states, ProgramState("bank", "STOPPED", 0, 0))).is_up
    assert not StackStatus(Home(tmp_path), ()).is_up


def test_status_has_one_line_for_each_program(tmp_path: Path) -> None:
    lines = StackStatus(Home(tmp_path), (ProgramState("valkey", "RUNNING", 7, 61),)).lines
    assert lines[0] == "valkey  running   for 0:01:01, process 7"
    assert StackStatus(Home(tmp_path), ()).lines == [f"Nothing runs in {tmp_path}."]
