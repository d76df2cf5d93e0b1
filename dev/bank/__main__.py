"""Start the sandbox bank: `python -m dev.bank --port 8700`.

The client's credentials are read from `BANK_CLIENT_ID` and `BANK_SECRET`; `SANDBOX_CSV` is the default of `--csv`.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import uvicorn

from dev.bank import journal
from dev.bank.api.app import create_app
from dev.bank.api.auth import Credentials
from dev.bank.api.connections import ConnectionExposingProtocol
from dev.bank.api.rate_limits import RateLimits
from dev.bank.bank import Bank
from dev.bank.changes import Changes
from dev.bank.faults import Fault, Faults
from dev.bank.purchases.file import PurchaseFile

DEFAULT_HISTORY = timedelta(days=120)
KEEP_ALIVE = timedelta(seconds=75)
SHUTDOWN_GRACE = timedelta(seconds=5)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Serve until interrupted.

    Raises
    ------
    SystemExit
        If an argument is wrong or a credential is not set.
    """
    parser = _create_parser()
    options = parser.parse_args(arguments)
    try:
        bank = _create_bank(options, environment)
        credentials = Credentials(
            _require_variable(environment, "BANK_CLIENT_ID"), _require_variable(environment, "BANK_SECRET")
        )
        limits = RateLimits.parse(options.limits, sends_retry_after=options.retry_after)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    try:
        uvicorn.run(
            create_app(bank, credentials, limits),
            host=options.host,
            port=options.port,
            access_log=False,
            http=ConnectionExposingProtocol,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=int(KEEP_ALIVE.total_seconds()),
            timeout_graceful_shutdown=int(SHUTDOWN_GRACE.total_seconds()),
        )
    finally:
        if bank.purchases is not None:
            bank.purchases.close()


def _create_bank(options: argparse.Namespace, environment: Mapping[str, str]) -> Bank:
    bank = Bank.from_seed(options.seed, opened_on=options.opened or options.day - DEFAULT_HISTORY, today=options.day)
    bank = replace(bank, faults=Faults(dict(options.fault)))
    if options.journal is not None:
        write = partial(journal.append, options.journal)
        bank = replace(bank, changes=Changes(journal.read(options.journal), write))
    file = options.csv or environment.get("SANDBOX_CSV")
    return replace(bank, purchases=PurchaseFile(bank.key, Path(file))) if file else bank


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.bank",
        description="A bank that speaks Plaid's API.",
        epilog="\n".join(("faults:", *(f"  {fault.value:24} {fault.summary}" for fault in Fault))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="TCP port to listen on")
    parser.add_argument(
        "--seed", default="sluice", help="any text; equal seeds make equal banks (default: %(default)s)"
    )
    parser.add_argument(
        "--day",
        type=date.fromisoformat,
        default=datetime.now(UTC).date(),
        help="the bank's current day (default: today, UTC)",
    )
    parser.add_argument(
        "--opened",
        type=date.fromisoformat,
        help=f"day by which every ledger has begun (default: {DEFAULT_HISTORY.days} days before --day); "
        "keep it when --day advances",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        type=_parse_fault_rate,
        metavar="NAME=RATE",
        help="fault to inject, with a rate of 0 to 1; may be repeated; see the list below",
    )
    parser.add_argument(
        "--limits", default="plaid", help="rate limits: plaid, off, or a factor of Plaid's (default: %(default)s)"
    )
    parser.add_argument("--retry-after", action="store_true", help="send Retry-After with a rate limit error")
    parser.add_argument("--journal", type=Path, help="file that keeps changes made by requests across restarts")
    parser.add_argument("--csv", type=Path, help="file of real purchases to serve instead of generated ones")
    return parser


def _parse_fault_rate(text: str) -> tuple[str, float]:
    name, _, rate = text.partition("=")
    return name, float(rate)


def _require_variable(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        message = f"{name} is not set; set it to what the bank's client will send"
        raise ValueError(message)
    return value


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
