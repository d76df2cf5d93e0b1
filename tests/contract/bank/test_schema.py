"""Valid and invalid requests generated from Plaid's specification, and the responses validated against it."""

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
from dev.bank.hostile.readers import Readers
from dev.bank.world import tokens
from dev.bank.world.tokens import TokenKind

ROOT = Path(__file__).parents[3]
FILE = ROOT / os.environ.get("SLUICE_TEST_DATA", "../shared/data") / "plaid" / "openapi_subset.json"
if not FILE.is_file():
    pytest.skip(
        f"Plaid's specification is not at {FILE}; name its parent folder in SLUICE_TEST_DATA", allow_module_level=True
    )

HEADERS = {"PLAID-CLIENT-ID": "client", "PLAID-SECRET": "secret"}
PATHS = [endpoint.path for endpoint in app.ENDPOINTS]
EXAMPLES = 100
SHAPE_ERRORS = {"INVALID_BODY", "MISSING_FIELDS", "UNKNOWN_FIELDS"}
RESPONSE_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
REJECTION_CHECK = "negative_data_rejection"
NULLABLE_FIELDS = {"cursor", "reason_code"}
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
    fresh_bank = replace(BANK, changes=Changes(), faults=Faults(), readers=Readers())
    schema.app = app.create_app(fresh_bank, Credentials("client", "secret"), RateLimits(None))
    return schema


SCHEMA = _schema()


def insert_known_values(case: Any) -> None:
    """Replace generated tokens and ids by ones that the bank knows, so that valid requests succeed."""
    body = case.body
    if not isinstance(body, dict):
        return
    item = PATHS.index(case.operation.path)
    known_values = {
        "access_token": tokens.mint(BANK.key, TokenKind.ACCESS, item),
        "public_token": tokens.mint(BANK.key, TokenKind.PUBLIC, item),
        "institution_id": "ins_109508",
    }
    case.body = {
        name: known_values.get(name, value) if isinstance(value, str) else value for name, value in body.items()
    }


def null_fields(body: Any) -> list[str]:
    """Return the names of the fields that are null."""
    return [name for name, value in body.items() if value is None] if isinstance(body, dict) else []


@pytest.mark.fuzzing
@SCHEMA.parametrize()  # type: ignore[untyped-decorator]
def test_valid_requests_are_never_invalid_by_shape_and_responses_match_the_schema(case: Any) -> None:
    insert_known_values(case)
    response = case.call(headers=HEADERS)
    names = (
        RESPONSE_CHECKS
        if any(name in NULLABLE_FIELDS for name in null_fields(case.body))
        else (*RESPONSE_CHECKS, REJECTION_CHECK)
    )
    case.validate_response(response, checks=schemathesis.checks.CHECKS.get_by_names(names))
    error = response.json() if response.status_code == 400 else {}
    if case.meta.generation.mode.is_positive:
        assert error.get("error_code") not in SHAPE_ERRORS
        assert not error.get("error_message", "").startswith("Expected")
