"""The plan of a stack, made without any server."""

from datetime import date
from pathlib import Path

from dev.servers.bank import Sandbox
from dev.servers.postgres import SETTINGS, Cluster
from dev.servers.privileges import Privileges
from dev.stack import chosen_servers, saved_state
from dev.stack.home import Home
from dev.stack.plan import Plan
from dev.stack.saved_state import Secrets

PORTS = {
    "ui": 8080,
    "postgres": 20001,
    "valkey": 20002,
    "bank": 20003,
    "mail": 20006,
    "logs": 20004,
    "supervisor": 20005,
}
SECRETS = Secrets(**{name: f"{name} of the test" for name in saved_state.SECRET_NAMES})
SANDBOX = Sandbox("sluice", opened=date(2026, 1, 1), day=date(2026, 5, 1))


def make_plan(folder: Path, **caller: str) -> Plan:
    home = Home(folder)
    cluster = Cluster(Path("/opt/pginstall18"), folder / "postgres" / "data", Privileges.DIRECT)
    servers = chosen_servers.choose_servers(caller, secrets=SECRETS, ports=PORTS)
    return Plan(home, SECRETS, PORTS, servers, cluster, SETTINGS, SANDBOX, caller)
