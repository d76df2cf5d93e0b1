"""Requests made up from Plaid's specification, good and bad, and the answers held against it."""

import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from dev.bank.api import app
from dev.bank.api.auth import Credentials
from dev.bank.api.rate_limits import RateLimits
from dev.bank.bank import Bank
from dev.bank.changes import Changes
from dev.bank.faults import Faults
from dev.bank.world import tokens
from dev.bank.world.tokens import TokenKind

ROOT = Path(__file__).parents[3]
FILE = ROOT / os.environ.get("SLUICE_TEST_DATA", "../shared/data") / "plaid" / "openapi_subset.json"
if not FILE.is_file():
    pytest.skip(f"Plaid's specification is not at {FILE}; say where in SLUICE_TEST_DATA", allow_module_level=True)

HEADERS = {"PLAID-CLIENT-ID": "client", "PLAID-SECRET": "secret"}
PATHS = [endpoint.path for endpoint in app.ENDPOINTS]
EXAMPLES = 100
SHAPE = {"INVALID_BODY", "MISSING_FIELDS", "UNKNOWN_FIELDS"}
KEEPING = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
REFUSING = "negative_data_rejection"
LENIENT = {"cursor", "reason_code"}
"""Fields that may be null, which the specification leaves open."""

BANK = Bank.from_seed("seed", opened_on=date(2026, 3, 1), today=date(2026, 6, 29))


def _schema() -> Any:
    document = json.loads(FILE.read_text())
    del document["security"]
    document["paths"] = {path: document["paths"][path] for path in PATHS}
    config = schemathesis.Config.from_dict(
        {
            "generation": {"mode": "all", "max-examples": EXAMPLES, "deterministic": True, "database": "none"},
            "phases": {"stateful": {"enabled": False}},
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    own = replace(BANK, changes=Changes(), faults=Faults())
    schema.app = app.create_app(own, Credentials("client", "secret"), RateLimits(None))
    return schema


SCHEMA = _schema()


def acquaint(case: Any) -> None:
    """Put what the bank knows in place of made-up names, so that good requests get good answers."""
    body = case.body
    if not isinstance(body, dict):
        return
    item = PATHS.index(case.operation.path)
    known = {
        "access_token": tokens.mint(BANK.key, TokenKind.ACCESS, item),
        "public_token": tokens.mint(BANK.key, TokenKind.PUBLIC, item),
        "institution_id": "ins_109508",
    }
    case.body = {name: known.get(name, value) if isinstance(value, str) else value for name, value in body.items()}


def nulls(body: Any) -> list[str]:
    """Return the names of the fields that are null."""
    return [name for name, value in body.items() if value is None] if isinstance(body, dict) else []


@pytest.mark.fuzzing
@SCHEMA.parametrize()  # type: ignore[untyped-decorator]
def test_good_requests_are_never_refused_by_shape_and_answers_keep_the_schema(case: Any) -> None:
    acquaint(case)
    response = case.call(headers=HEADERS)
    names = KEEPING if any(name in LENIENT for name in nulls(case.body)) else (*KEEPING, REFUSING)
    case.validate_response(response, checks=schemathesis.checks.CHECKS.get_by_names(names))
    refusal = response.json() if response.status_code == 400 else {}
    if case.meta.generation.mode.is_positive:
        assert refusal.get("error_code") not in SHAPE
        assert not refusal.get("error_message", "").startswith("Expected")
