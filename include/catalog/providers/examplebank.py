"""Example bank: a plain JSON API with a bearer token, which lists the transactions of an account page by page."""

from etl.declare.api.auth import TokenHeader
from etl.declare.provider import ErrorAction, ErrorRule, Provider

EXAMPLEBANK = Provider(
    name="examplebank",
    connection="examplebank",
    auth=TokenHeader(),
    errors=(ErrorRule(ErrorAction.STOP_ACCOUNT, status=401), ErrorRule(ErrorAction.STOP_ACCOUNT, status=403)),
)
