"""Edits of a catalogue while Airflow runs: the Dag processor, which runs all the time, sees each within a minute."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.demo.airflow_api import AirflowApi
from dev.stack.stack import Stack
from etl import catalog_folder
from tests.integration.new_declarations.examples import examples
from tests.own_catalog import OwnCatalog

LIMIT = 60.0
"""Seconds within which an edit must be visible."""
SHIPPED = ("etl_accounts", "etl_transactions", "etl_merchants", "notify_monthly_report", "notify_now", "maintenance")
ENTITIES = ("balances", "removed", "mended", "transactions_sync")
NOTICE = "login_stopped"


class Editor:
    """Edits the catalogue of a running stack."""

    def __init__(self, catalog: OwnCatalog) -> None:
        self.catalog = catalog

    def add_entity(self, name: str) -> None:
        """Add the entity of CONTRIBUTING.md, by another name."""
        (declaration,) = examples("Add an entity in ten minutes", "python")
        self.catalog.write(f"entities/{name}.py", declaration.replace('name="balances"', f'name="{name}"'))

    def copy_entity(self, name: str, *, original: str) -> None:
        text = (catalog_folder.SHIPPED / "entities" / f"{original}.py").read_text()
        self.catalog.write(f"entities/{name}.py", text.replace(f'name="{original}"', f'name="{name}"'))

    def change_entity(self, name: str, old: str, new: str) -> None:
        path = self.catalog.folder / "entities" / f"{name}.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def remove_entity(self, name: str) -> None:
        (self.catalog.folder / "entities" / f"{name}.py").unlink(missing_ok=True)

    def add_notice(self) -> None:
        """Add the notice of CONTRIBUTING.md."""
        (declaration,), (sql,) = (examples("Add a notice", language) for language in ("python", "sql"))
        self.catalog.write(f"sql/notices/{NOTICE}.sql", sql)
        for name, text in zip(("subject", "text", "html"), examples("Add a notice", "jinja"), strict=True):
            self.catalog.write(f"notices/{NOTICE}/email.{name}.jinja", text)
        self.catalog.write(f"notices/{NOTICE}/notice.py", declaration)

    def remove_notice(self) -> None:
        shutil.rmtree(self.catalog.folder / "notices" / NOTICE, ignore_errors=True)
        (self.catalog.folder / "sql" / "notices" / f"{NOTICE}.sql").unlink(missing_ok=True)


@pytest.fixture
def editor(airflow_stack: Stack) -> Iterator[Editor]:
    """Return an editor of the stack's catalogue, which is as it was afterwards."""
    created = Editor(OwnCatalog(Path(airflow_stack.environment[catalog_folder.VARIABLE])))
    yield created
    created.remove_notice()
    for name in ENTITIES:
        created.remove_entity(name)


def wait_until(api: AirflowApi, is_visible: Callable[[dict[str, str | None], str], bool]) -> None:
    """Wait until Dags and the import error of the declarations are as they should; no other Dag may be affected."""
    deadline = time.monotonic() + LIMIT
    while True:
        dags, errors = api.schedules(), api.import_errors()
        assert set(SHIPPED) <= dags.keys()
        assert errors.keys() <= {"declarations.py"}
        if is_visible(dags, errors.get("declarations.py", "")):
            return
        assert time.monotonic() < deadline, (dags, errors)
        time.sleep(0.5)


def test_each_edit_is_visible_within_a_minute_and_no_other_dag_is_affected(api: AirflowApi, editor: Editor) -> None:
    for dag_id in SHIPPED:
        api.wait_for_dag(dag_id)
    for name in ("balances", "removed", "mended"):
        editor.add_entity(name)
    editor.change_entity("mended", 'schedule="0 6 * * *"', 'schedule="6 am"')
    editor.copy_entity("transactions_sync", original="transactions")
    editor.add_notice()
    wait_until(
        api,
        lambda dags, error: (
            {"etl_balances", "etl_removed", "notify_login_stopped"} <= dags.keys()
            and "entities/mended.py:12: entity mended: schedule is '6 am'" in error
            and "entity transactions_sync: source is the feed transactions_sync, which transactions reads too" in error
            and not {"etl_mended", "etl_transactions_sync"} & dags.keys()
        ),
    )
    editor.change_entity("balances", '"0 6 * * *"', '"0 7 * * *"')
    editor.change_entity("mended", '"6 am"', '"0 6 * * *"')
    editor.remove_entity("removed")
    (editor.catalog.folder / "notices" / NOTICE / "email.text.jinja").unlink()
    wait_until(
        api,
        lambda dags, error: (
            dags.get("etl_balances") == "0 7 * * *"
            and "etl_mended" in dags
            and not {"etl_removed", "notify_login_stopped"} & dags.keys()
            and "entities/mended.py" not in error
            and f"{NOTICE}/email.text.jinja is missing" in error
        ),
    )
    editor.remove_notice()
    editor.remove_entity("transactions_sync")
    wait_until(api, lambda _, error: not error)
