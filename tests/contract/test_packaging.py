"""The package that `make install` and the image install."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMMAND = "pip install --no-deps --no-build-isolation --no-index --editable ."


def commands(file: str) -> list[str]:
    """Return the commands of a file that install Sluice, without options that only change their output."""
    text = re.sub(r"\s*\\\n\s*", " ", (ROOT / file).read_text(encoding="utf-8"))
    installs = re.findall(r"pip install [^&\n]*--editable \.", text)
    return [re.sub(r"--(quiet|disable-pip-version-check|no-cache-dir) ", "", command) for command in installs]


def test_every_folder_with_code_is_a_package() -> None:
    find = PROJECT["tool"]["setuptools"]["packages"]["find"]
    (where,) = find["where"]
    setuptools = import_module("setuptools")  # it has no types
    packages = set(setuptools.find_namespace_packages(str(ROOT / where), include=find["include"]))
    folders = {path.parent.relative_to(ROOT / where) for path in (ROOT / where).rglob("*.py")}
    assert {".".join(folder.parts) for folder in folders} - packages == set()
    assert {package.split(".")[0] for package in packages} == {"etl", "catalog"}


def test_the_project_is_installed_without_network_here_and_in_the_image() -> None:
    assert commands("Makefile") == commands("Dockerfile") == [COMMAND]


def test_the_image_gets_the_files_that_the_build_reads() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for name in ("pyproject.toml", PROJECT["project"]["readme"]):
        assert f"!{name}" in ignored
        assert re.search(rf"^COPY .*\b{re.escape(name)}", dockerfile, re.MULTILINE)


def test_the_build_backend_is_pinned_with_the_other_requirements() -> None:
    (requirement,) = PROJECT["build-system"]["requires"]
    assert requirement in PROJECT["project"]["dependencies"]
