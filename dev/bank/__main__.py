"""Start the sandbox bank: `python -m dev.bank --port 8700`.

The client's credentials are read from `BANK_CLIENT_ID` and `BANK_SECRET`.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import uvicorn

from dev.bank.app import create_app
from dev.bank.bank import Bank
from dev.bank.credentials import Credentials

HISTORY = timedelta(days=120)
KEEP_ALIVE = timedelta(seconds=75)
GRACE = timedelta(seconds=5)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Serve until interrupted.

    Raises
    ------
    SystemExit
        If an argument is wrong or a credential is not set.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        bank = Bank.found(options.seed, opened=options.opened or options.day - HISTORY, today=options.day)
        credentials = Credentials(_variable(environment, "BANK_CLIENT_ID"), _variable(environment, "BANK_SECRET"))
    except ValueError as error:
        parser.error(str(error))
    uvicorn.run(
        create_app(bank, credentials),
        host=options.host,
        port=options.port,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=int(KEEP_ALIVE.total_seconds()),
        timeout_graceful_shutdown=int(GRACE.total_seconds()),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.bank", description="A bank that speaks Plaid's API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="TCP port to listen on")
    parser.add_argument(
        "--seed", default="sluice", help="any text; the same seed is the same bank (default: %(default)s)"
    )
    parser.add_argument(
        "--day",
        type=date.fromisoformat,
        default=datetime.now(UTC).date(),
        help="the bank's today (default: today, UTC)",
    )
    parser.add_argument(
        "--opened",
        type=date.fromisoformat,
        help=f"day by which ledgers have begun (default: {HISTORY.days} days before --day); keep it as --day advances",
    )
    return parser


def _variable(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        message = f"{name} is not set; set it to what the bank's client will send"
        raise ValueError(message)
    return value


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
