"""Objects below the raw root: second names, and the free space of a volume."""

from __future__ import annotations

import errno
import os
import re
import time
from collections import namedtuple
from pathlib import Path

import pytest
from upath import UPath

from etl.storage import objects
from etl.storage.objects import VolumeFull

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(params=["volume", "object store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> UPath:
    return UPath(f"file://{tmp_path}") if request.param == "volume" else UPath(f"memory://{tmp_path.name}")


def test_a_later_write_to_one_name_of_an_object_leaves_the_other_name_as_it_is(folder: UPath) -> None:
    objects.put(folder / "a" / "1", b"old")
    objects.put(folder / "b" / "1", b"other")
    assert objects.link(folder / "a" / "1", folder / "b" / "1") == b"old"
    objects.put(folder / "a" / "1", b"new")
    assert (folder / "b" / "1").read_bytes() == b"old"
    (folder / "a" / "1").unlink()
    assert (folder / "b" / "1").read_bytes() == b"old"


def test_an_object_that_already_has_the_name_stays(folder: UPath) -> None:
    objects.put(folder / "a", b"content")
    assert objects.link(folder / "a", folder / "a") == b"content"
    assert (folder / "a").read_bytes() == b"content"


def test_an_object_is_copied_where_it_cannot_have_a_second_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    folder = UPath(f"file://{tmp_path}")
    objects.put(folder / "a", b"content")
    assert objects.link(folder / "a", folder / "b") == b"content"
    assert (folder / "b").read_bytes() == b"content"


def test_an_object_with_a_second_name_counts_as_new(tmp_path: Path) -> None:
    folder = UPath(f"file://{tmp_path}")
    objects.put(folder / "a", b"content")
    os.utime(tmp_path / "a", (0, 0))
    objects.link(folder / "a", folder / "b")
    assert time.time() - (tmp_path / "b").stat().st_mtime < 60


def test_a_missing_object_has_no_second_name(folder: UPath) -> None:
    with pytest.raises(FileNotFoundError):
        objects.link(folder / "a", folder / "b")


def test_free_space_is_checked_where_the_root_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MIN_FREE_SPACE", 1_000)
    asked: list[Path] = []

    def usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(5_000, 4_001, 999)

    monkeypatch.setattr("etl.storage.objects.shutil.disk_usage", usage)
    message = f"{tmp_path}/raw/below: only 999 bytes of its volume are free, of at least 1,000; enlarge the volume, or"
    with pytest.raises(VolumeFull, match=re.escape(message)):
        objects.require_free_space(UPath(f"file://{tmp_path}/raw/below"))
    assert asked == [tmp_path]
    objects.require_free_space(UPath("memory://bucket/raw"))
