import shlex
from configparser import ConfigParser
from pathlib import Path

from dev.stack import programs, supervisor
from dev.stack.home import Home
from dev.stack.programs import Program, Stage
from etl.declare.queue import Queue, WorkerGroup
from tests.unit.stack.samples import PORTS, SECRETS, make_plan

FAST = WorkerGroup("fast_lane", processes=2)
SLOW = WorkerGroup("slow_lane", processes=6, helps=("urgent",))
QUEUES = (
    Queue("bulk", priority=1, group=SLOW, slots=4, memory=64, summary=""),
    Queue("urgent", priority=9, group=FAST, slots=2, memory=64, summary=""),
)


def parse_configuration(supervised: list[Program], folder: Path) -> ConfigParser:
    text = supervisor.render_configuration(
        Home(folder), supervised, port=1, password=SECRETS.supervisor_password, uid=1000
    )
    parser = ConfigParser(interpolation=None, inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    return parser


def test_worker_polls_the_queues_of_its_group_and_those_it_helps_with_most_urgent_first() -> None:
    arguments = programs.worker_arguments(SLOW, QUEUES, tag="1a2b")
    assert arguments[arguments.index("--queues") + 1] == "urgent,bulk"
    assert arguments[arguments.index("--concurrency") + 1] == "6"
    assert arguments[arguments.index("--celery-hostname") + 1] == "slow_lane-1a2b@%h"


def test_no_worker_serves_logs_on_every_interface() -> None:
    assert all("--skip-serve-logs" in programs.worker_arguments(group, QUEUES, tag="x") for group in (FAST, SLOW))


def test_workers_of_two_homes_have_different_names() -> None:
    assert Home(Path("/a")).tag != Home(Path("/b")).tag


def test_database_starts_first_and_airflow_last(tmp_path: Path) -> None:
    stages = [program.stage for program in make_plan(tmp_path).programs]
    assert stages == sorted(stages, key=lambda stage: stage.value)
    assert stages[0] is Stage.DATABASE
    assert stages[-1] is Stage.AIRFLOW


def test_named_servers_are_not_started(tmp_path: Path) -> None:
    names = {program.name for program in make_plan(tmp_path, BROKER_URL="redis://cache/0").programs}
    assert "valkey" not in names


def test_command_survives_the_supervisors_configuration(tmp_path: Path) -> None:
    command = ("/opt/it's/a b", "--name=x@%h", "")
    section = parse_configuration([Program("odd", command, tmp_path)], tmp_path)["program:odd"]
    assert tuple(shlex.split(section["command"] % {})) == command


def test_programs_start_on_request_and_restart_if_they_end(tmp_path: Path) -> None:
    parser = parse_configuration(make_plan(tmp_path).programs, tmp_path)
    for name in (section for section in parser.sections() if section.startswith("program:")):
        assert (parser[name]["autostart"], parser[name]["autorestart"]) == ("false", "true")


def test_no_command_line_holds_a_secret(tmp_path: Path) -> None:
    commands = " ".join(part for program in make_plan(tmp_path).programs for part in program.command)
    assert not [secret for secret in vars(SECRETS).values() if secret in commands]


def test_servers_listen_on_loopback_without_unix_sockets(tmp_path: Path) -> None:
    postgres = next(program for program in make_plan(tmp_path).programs if program.name == "postgres")
    assert {"listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={PORTS['postgres']}"} <= set(
        postgres.command
    )
