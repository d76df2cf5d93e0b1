"""The folder of a catalogue: what is wrong with one, and which of its files are used instead of shipped ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from etl import catalog_folder
from etl.catalog_folder import SHIPPED, SQL_ROOT, CatalogFolder
from etl.errors import DeclarationError
from tests.integration.new_declarations.examples import examples
from tests.own_catalog import OwnCatalog


@pytest.fixture
def own(tmp_path: Path) -> OwnCatalog:
    return OwnCatalog(tmp_path / "any name")


def found(own: OwnCatalog) -> CatalogFolder:
    return catalog_folder.find({catalog_folder.VARIABLE: str(own.folder)})


def declared(own: OwnCatalog) -> dict[str, list[str]]:
    """Return the names of everything that a process with this catalogue declares; it warns of nothing."""
    described = own.python("-m", "etl", "describe")
    assert described.stderr == ""
    document = json.loads(described.stdout)
    return {kind: [each["name"] for each in document[kind]] for kind in ("entities", "notices", "queues")}


@pytest.mark.parametrize("value", [None, "", " "])
def test_the_shipped_catalogue_is_used_unless_a_folder_is_named(value: str | None) -> None:
    catalog = catalog_folder.find({} if value is None else {catalog_folder.VARIABLE: value})
    assert (catalog.folder, catalog.package, catalog.problem) == (SHIPPED, "etl.catalog", None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "does not exist"),
        (lambda path: path.write_text(""), "is not a folder"),
        (lambda path: path.mkdir(), "is empty"),
        (lambda path: (path / "sql").mkdir(parents=True), "has neither a folder `entities` nor a folder `notices`"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_with_what_was_found_and_what_to_do(
    own: OwnCatalog, make: object, message: str
) -> None:
    assert callable(make)
    make(own.folder)
    with pytest.raises(DeclarationError) as refused:
        found(own).require_usable()
    remedy = "name a folder that `sluice init DIR` wrote, or unset it for the shipped catalogue"
    assert str(refused.value) == f"SLUICE_CATALOG: {own.folder} {message}; {remedy}"


def test_a_folder_that_may_not_be_read_is_refused(own: OwnCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "cannot be read by user" in (found(own).problem or "")
    assert "Permission denied" in (found(own).problem or "")


@pytest.mark.parametrize("name", [".", "entities", "notices", "hooks", "providers", "sql"])
def test_a_folder_whose_files_may_not_be_seen_is_refused_instead_of_seeming_empty(
    own: OwnCatalog, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    own.reexport_entity("accounts")
    refused = own.folder / name
    refused.mkdir(exist_ok=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != refused and mode == os.R_OK | os.X_OK)
    assert found(own).problem == (
        f"{refused} cannot be read by user {os.geteuid()}; let it, as by `chmod -R a+rX` of the catalogue"
    )


def test_a_file_of_a_folder_that_may_not_be_read_takes_the_place_of_no_shipped_one(
    own: OwnCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.write("queues.py", "")
    assert found(own).file("queues.py") == own.folder / "queues.py"

    def refuse(_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    assert found(own).file("queues.py") == SHIPPED / "queues.py"


def test_a_folder_that_cannot_be_used_has_no_other_fault(own: OwnCatalog) -> None:
    own.write("sql/notices/greeting.sql", "")
    checked = own.python("-m", "etl", "check", check=False).stdout.splitlines()
    assert checked[0].startswith(f"SLUICE_CATALOG: {own.folder} has neither")
    assert checked[1:] == ["Faults: 1."]


def test_a_relative_path_is_refused_since_each_process_would_find_another_folder() -> None:
    problem = catalog_folder.find({catalog_folder.VARIABLE: "ours"}).problem
    assert problem == f"ours is relative, and every process has its own folder; write {Path('ours').absolute()}"


def test_only_what_the_folder_declares_is_declared_and_shipped_things_by_one_line(own: OwnCatalog) -> None:
    own.reexport_entity("accounts")
    assert declared(own)["entities"] == ["accounts"]
    assert declared(own)["notices"] == []
    own.reexport_notice("low_balance")
    assert declared(own)["notices"] == ["low_balance"]


def test_a_declaration_that_extends_a_shipped_one_uses_its_sql_until_the_folder_has_some(own: OwnCatalog) -> None:
    file = own.reexport_entity("transactions")
    assert found(own).sql("entities", "transactions") == SQL_ROOT / "entities" / "transactions.sql"
    _, changed = examples("Shipped entities and notices", "python", page="docs/catalogue.md")
    file.write_text(changed)
    assert found(own).sql("entities", "transactions") == SQL_ROOT / "entities" / "transactions.sql"
    assert declared(own)["entities"] == ["transactions"]
    part = own.write("sql/entities/transactions.ends.sql", "")
    assert found(own).sql("entities", "transactions") == part.with_name("transactions.sql")


def test_a_declaration_of_ones_own_never_uses_the_sql_of_a_shipped_one_of_its_name(own: OwnCatalog) -> None:
    own.write("entities/transactions.py", "from etl.catalog.entities.accounts import ACCOUNTS\n")
    assert found(own).sql("entities", "transactions") == own.folder / "sql" / "entities" / "transactions.sql"
    own.write("notices/low_balance/notice.py", "from etl.catalog.queues import EMAILS\n")
    assert found(own).extended_templates("low_balance") == ()


def test_templates_of_the_folder_come_before_those_of_the_notice_that_it_extends(own: OwnCatalog) -> None:
    own.reexport_notice("low_balance")
    notices, shipped = own.folder / "notices", SHIPPED / "notices"
    expected = (notices / "low_balance", shipped / "low_balance", notices, shipped)
    assert found(own).template_folders("low_balance") == expected
    own.write("notices/low_balance/email.subject.jinja", "Look at your account")
    own.write("notices/layout.html.jinja", "OUR LAYOUT {% block body required %}{% endblock %}")
    script = (
        "from etl.catalog.notices import NOTICES\n"
        "from etl.notify.templates import Templates\n"
        "(notice,) = NOTICES\n"
        "values = dict(account='x', mask='1', balance='5', available=True, currency='EUR', threshold='9', link='')\n"
        "for part in Templates(notice).render(notice.channels[1], values).values(): print(part)\n"
    )
    rendered = own.python("-c", script).stdout
    assert rendered.startswith("Look at your account\n")
    assert "x …1" in rendered
    assert "OUR LAYOUT" in rendered


def test_queues_of_the_folder_take_the_place_of_the_shipped_ones(own: OwnCatalog) -> None:
    own.reexport_entity("accounts")
    queues = (SHIPPED / "queues.py").read_text()
    own.write("queues.py", queues.replace('"etl",\n    priority=2', '"our_etl",\n    priority=2'))
    assert declared(own)["queues"] == ["urgent_notifications", "emails", "our_etl", "maintenance"]
    script = "from etl.catalog.entities import ENTITIES; print(ENTITIES[0].queue.name)"
    assert own.python("-c", script).stdout == "our_etl\n"


def test_files_of_the_folder_are_the_package_catalog_in_any_order_of_imports(own: OwnCatalog) -> None:
    own.reexport_entity("accounts")
    script = (
        "import catalog.entities.accounts\n"
        "from etl.catalog.entities import ENTITIES, FAULTS\n"
        "print([entity.name for entity in ENTITIES], FAULTS, catalog.entities.accounts.ACCOUNTS is ENTITIES[0])"
    )
    assert own.python("-c", script).stdout == "['accounts'] () True\n"


def test_a_fault_names_the_file_of_the_folder_and_where_it_was_raised(own: OwnCatalog) -> None:
    bank = own.write("providers/ours.py", "\nraise ValueError('no such bank')\n")
    file = own.write("entities/odd.py", "from catalog.providers.ours import OURS\n")
    fault = f"{file}:1: ValueError: no such bank; fix this line (raised at {bank}:2)"
    assert own.python("-m", "etl", "queues").stderr == f"warning: {fault}\n"


def test_a_process_without_such_a_folder_has_no_package_catalog_and_with_one_says_which_file_is_missing(
    own: OwnCatalog,
) -> None:
    own.reexport_entity("accounts")
    for environment in (own.environment(), {**own.environment(), catalog_folder.VARIABLE: ""}):
        done = own.python("-c", "import catalog.providers.examplebank", environment=environment, check=False)
        assert done.stderr.endswith("ModuleNotFoundError: No module named 'catalog.providers'\n")
