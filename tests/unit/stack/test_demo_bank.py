from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from dev.demo.bank import command, load_or_create
from dev.servers import bank


def test_the_bank_of_a_container_is_the_same_after_each_start(tmp_path: Path) -> None:
    first = load_or_create(tmp_path)
    earlier = replace(first, day=first.day - timedelta(days=3), opened=first.opened - timedelta(days=3))
    bank.save(tmp_path / "bank.json", earlier)
    assert load_or_create(tmp_path) == earlier


def test_the_bank_of_a_container_listens_on_all_interfaces_and_saves_changes_in_its_folder(tmp_path: Path) -> None:
    arguments = command(load_or_create(tmp_path), port=8700, folder=tmp_path)
    assert arguments[arguments.index("--host") + 1] == "0.0.0.0"
    assert Path(arguments[arguments.index("--journal") + 1]).parent == tmp_path
