"""The sandbox bank, a provider that runs on this machine: its settings and its command."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from dev.servers import private_files
from dev.servers.binaries import interpreter
from dev.servers.purchases import PurchaseSource

HEALTH_PATH = "/health"
SEED = "sluice"
HISTORY = timedelta(days=120)


@dataclass(frozen=True)
class Sandbox:
    """What the sandbox bank serves.

    Parameters
    ----------
    seed
        Any text; the same seed makes the same customers.
    opened
        Day on which the ledgers begin.
    day
        The bank's current day.
    purchases
        Real purchases to serve; None for generated customers.
    """

    seed: str
    opened: date
    day: date
    purchases: PurchaseSource | None = None


def new_sandbox(day: date) -> Sandbox:
    """Return a bank whose current day is `day` until it is advanced."""
    return Sandbox(SEED, opened=day - HISTORY, day=day)


def advance(sandbox: Sandbox, days: int) -> Sandbox:
    """Return the bank on a day that is `days` later."""
    return replace(sandbox, day=sandbox.day + timedelta(days=days))


def command(sandbox: Sandbox, *, port: int) -> tuple[str, ...]:
    """Return the command that runs the bank, from the root of the repository."""
    days = ("--opened", sandbox.opened.isoformat(), "--day", sandbox.day.isoformat())
    purchases = ("--csv", str(sandbox.purchases.path)) if sandbox.purchases else ()
    return (str(interpreter()), "-m", "dev.bank", "--port", str(port), "--seed", sandbox.seed, *days, *purchases)


def save(path: Path, sandbox: Sandbox) -> None:
    """Save the settings with which a bank was started."""
    private_files.write(path, json.dumps(asdict(sandbox), default=str) + "\n")


def load(path: Path) -> Sandbox | None:
    """Return the settings with which the bank was last started; None if it never was."""
    text = private_files.read(path)
    if text is None:
        return None
    fields = json.loads(text)
    opened, day = (date.fromisoformat(fields[name]) for name in ("opened", "day"))
    source = fields.get("purchases")
    purchases = PurchaseSource(Path(source["path"]), source["digest"], source["items"]) if source else None
    return Sandbox(fields["seed"], opened=opened, day=day, purchases=purchases)
