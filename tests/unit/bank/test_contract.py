import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

Send = Callable[..., httpx.Response]

ROOT = Path(__file__).parents[3]
PLAID = ROOT / os.environ.get("SLUICE_TEST_DATA", "../shared/data") / "plaid"
REQUESTS: dict[str, dict[str, Any]] = {
    "/item/get": {},
    "/accounts/get": {},
    "/accounts/balance/get": {},
    "/transactions/sync": {"count": 25, "options": {"include_original_description": True}},
    "/transactions/get": {"start_date": "2026-06-01", "end_date": "2026-06-29"},
    "/sandbox/transactions/create": {"transactions": []},
    "/sandbox/item/reset_login": {},
    "/item/remove": {},
}

pytestmark = pytest.mark.skipif(
    not PLAID.is_dir(), reason=f"Plaid's specification is not at {PLAID}; name its parent folder in SLUICE_TEST_DATA"
)


@pytest.fixture(scope="module")
def specification() -> dict[str, Any]:
    text = (PLAID / "openapi_subset.json").read_text()
    document: dict[str, Any] = as_json_schema(json.loads(text))
    return document


def as_json_schema(node: Any) -> Any:
    if isinstance(node, list):
        return [as_json_schema(each) for each in node]
    if not isinstance(node, dict):
        return node
    schema = {key: as_json_schema(value) for key, value in node.items() if key != "nullable"}
    if isinstance(schema.get("exclusiveMinimum"), bool):
        del schema["exclusiveMinimum"]
    if node.get("nullable") is not True:
        return schema
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def violations(specification: dict[str, Any], path: str, response: httpx.Response) -> list[str]:
    outcome = "200" if response.status_code == 200 else "default"
    declared = specification["paths"][path]["post"]["responses"][outcome]["content"]["application/json"]["schema"]
    validator = Draft202012Validator(
        {**declared, "components": specification["components"]}, format_checker=FormatChecker()
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(response.json())]


def fields_of(node: Any, prefix: str = "") -> set[str]:
    if isinstance(node, list):
        return set().union(*(fields_of(each, f"{prefix}[]") for each in node))
    if isinstance(node, dict):
        return set().union(*({f"{prefix}.{key}", *fields_of(value, f"{prefix}.{key}")} for key, value in node.items()))
    return set()


@pytest.mark.parametrize("number", range(12))
def test_responses_match_plaids_schema(send: Send, specification: dict[str, Any], number: int) -> None:
    create, exchange = "/sandbox/public_token/create", "/item/public_token/exchange"
    fields = {"institution_id": "ins_109508", "initial_products": ["transactions"]}
    created = send(create, {**fields, "options": {"override_username": f"user_{number}"}})
    exchanged = send(exchange, {"public_token": created.json()["public_token"]})
    access_token = exchanged.json()["access_token"]
    responses = {create: created, exchange: exchanged} | {
        path: send(path, {"access_token": access_token, **extra_fields}) for path, extra_fields in REQUESTS.items()
    }
    for path, response in responses.items():
        assert (path, response.status_code, violations(specification, path, response)) == (path, 200, [])


@pytest.mark.parametrize("disabling_path", ["/sandbox/item/reset_login", "/item/remove"])
def test_responses_of_unreadable_items_match_plaids_schema(
    send: Send, specification: dict[str, Any], access_token: str, disabling_path: str
) -> None:
    send(disabling_path, {"access_token": access_token})
    for path, extra_fields in REQUESTS.items():
        if not path.startswith("/sandbox/"):
            response = send(path, {"access_token": access_token, **extra_fields})
            assert violations(specification, path, response) == []


@pytest.mark.parametrize(
    "fault",
    ["server_error", "rate_limit", "revoked", "mutation", "not_ready", "duplicate", "huge_amount", "emoji_name"],
)
def test_faults_that_the_schema_allows_match_it(
    send: Send, specification: dict[str, Any], access_token: str, fault: str
) -> None:
    cursor = send("/transactions/sync", {"access_token": access_token, "count": 5}).json()["next_cursor"]
    send("/sandbox/faults", {"faults": {fault: 1}})
    for path, extra_fields in REQUESTS.items():
        response = send(
            path, {"access_token": access_token, **extra_fields, **({"cursor": cursor} if "sync" in path else {})}
        )
        assert violations(specification, path, response) == []


@pytest.mark.parametrize("path", REQUESTS)
def test_errors_match_plaids_schema(send: Send, specification: dict[str, Any], path: str) -> None:
    for response in (send(path, {"access_token": "nobody's"}), send(path, {}), send(path, method="GET")):
        assert violations(specification, path, response) == []


def test_the_validation_can_fail(send: Send, specification: dict[str, Any], access_token: str) -> None:
    response = send("/accounts/get", {"access_token": access_token})
    broken = response.json()
    broken["accounts"][0]["balances"]["current"] = "12.05"
    del broken["item"]["update_type"]
    assert violations(specification, "/accounts/get", httpx.Response(200, json=broken)) == [
        "$.accounts[0].balances.current: '12.05' is not of type 'number', 'null'",
        "$.item: 'update_type' is a required property",
    ]


def test_transactions_have_every_field_of_plaids_example(send: Send, access_token: str) -> None:
    example = json.loads((PLAID / "examples" / "transactions__sync.json").read_text())
    response = send("/transactions/sync", {"access_token": access_token}).json()
    for part in ("accounts", "added"):
        assert fields_of(example[part]) <= fields_of(response[part])
    assert example.keys() <= response.keys()
