"""Two notices of the tests' catalogue, whose runs are long: each user gets hundreds of messages."""

from __future__ import annotations

from tests.own_catalog import OwnCatalog

CAMPAIGNS = ("spring", "autumn")

_DECLARATION = """
from etl.catalog.channels import EMAIL
from etl.catalog.queues import EMAILS
from etl.declare.notice import Category, Consent, Notice, UnknownPolicy

{constant} = Notice(
    name="{name}",
    summary="A campaign of the tests.",
    channels=(EMAIL,),
    category=Category("campaigns", Consent.NONE),
    queue=EMAILS,
    pace=50,
    period="%Y-%m-%d",
    unknown=UnknownPolicy.HOLD,
    chunk_size=5_000,
)
"""
_SQL = """
-- name: bounds
-- Every user, two hundred times.
select u.user_id * 200 + n as position
from core.users as u, generate_series(0, 199) as n;

-- name: recipients
-- Each with a key of its own, so that all are sent.
select b.position, b.user_id, b.position::text as dedupe_key
from (
    select u.user_id * 200 + n as position, u.user_id
    from core.users as u, generate_series(0, 199) as n
) as b
where b.position > %(after)s and b.position < %(stop)s
order by b.position
limit %(limit)s;
"""


def add_campaigns(catalog: OwnCatalog) -> OwnCatalog:
    """Declare the campaigns in a catalogue, and return it."""
    for name in CAMPAIGNS:
        catalog.write(f"sql/notices/{name}.sql", _SQL)
        catalog.write(f"notices/{name}/notice.py", _DECLARATION.format(name=name, constant=name.upper()))
        catalog.write(f"notices/{name}/email.subject.jinja", f"{name} {{{{ dedupe_key }}}}")
        catalog.write(f"notices/{name}/email.text.jinja", f"{name}.")
        catalog.write(f"notices/{name}/email.html.jinja", f"<html><body><p>{name}.</p></body></html>")
    return catalog
