import json
import socket
from pathlib import Path

from dev.servers.ports import LOOPBACK, assign_ports, candidates, is_free
from dev.stack import saved_state


def test_preferred_port_is_assigned_if_it_is_free() -> None:
    assert assign_ports({"ui": 8080, "bank": None}, is_free=lambda _: True, alternatives=[1, 2]) == {
        "ui": 8080,
        "bank": 1,
    }


def test_taken_port_is_replaced_by_the_first_free_one() -> None:
    assert assign_ports({"ui": 8080}, is_free=lambda port: port == 3, alternatives=[1, 2, 3]) == {"ui": 3}


def test_no_two_names_share_a_port() -> None:
    assert assign_ports({"a": 5, "b": 5, "c": None}, is_free=lambda _: True, alternatives=[5, 6, 7]) == {
        "a": 5,
        "b": 6,
        "c": 7,
    }


def test_candidates_are_below_the_range_of_outgoing_connections() -> None:
    ports = list(candidates())
    assert sorted(ports) == list(range(20_000, 30_000))


def test_port_with_a_listener_on_loopback_is_not_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        assert not is_free(listener.getsockname()[1])


def test_port_with_a_listener_on_all_interfaces_is_not_free() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        assert not is_free(listener.getsockname()[1])


def test_ports_are_saved(tmp_path: Path) -> None:
    messages: list[str] = []
    first = saved_state.choose_ports(
        tmp_path / "ports.json", ui_port=8080, say=messages.append, is_port_free=lambda _: True
    )
    second = saved_state.choose_ports(
        tmp_path / "ports.json", ui_port=8080, say=messages.append, is_port_free=lambda _: True
    )
    assert first == second == saved_state.load_ports(tmp_path / "ports.json")
    assert first["ui"] == 8080
    assert not messages


def test_saved_port_that_is_taken_is_replaced_and_reported(tmp_path: Path) -> None:
    messages: list[str] = []
    saved = dict.fromkeys(saved_state.PORT_NAMES, 0) | {"ui": 8080, "postgres": 20_001}
    (tmp_path / "ports.json").write_text(json.dumps(saved))
    ports = saved_state.choose_ports(
        tmp_path / "ports.json", ui_port=8080, say=messages.append, is_port_free=lambda port: port not in (8080, 20_001)
    )
    assert ports["postgres"] not in (0, 20_001)
    assert any("20001 is taken" in line and f"postgres moves to {ports['postgres']}" in line for line in messages)
