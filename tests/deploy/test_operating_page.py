"""What docs/operating.md and the runbooks name is there: settings, calls, metrics, pages and programs."""

from __future__ import annotations

import re

import pytest

from registry.settings import NAMES, PREFIX
from tests.api.test_routes_and_roles import ROUTES
from tests.deploy.test_watching import RULES, given
from tests.end_to_end.processes import PROJECT

__all__ = ["given"]

PAGE = (PROJECT / "docs" / "operating.md").read_text()
RUNBOOKS = {page.name: page.read_text() for page in sorted((PROJECT / "docs" / "runbooks").glob("*.md"))}
EVERY = {"operating.md": PAGE, **RUNBOOKS}
SHELL = re.compile(r"^( *)```sh\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
# What an operator has anyway. `make` and `registry` are the project's own.
PROGRAMS = {"curl", "date", "docker", "env", "kubectl", "make", "psql", "registry"}
ON_A_HOST = {"cat", "cd", "chown", "cp", "scp", "set", "ssh", "systemctl", "umask", "useradd", "$ask"}
"""What tests/kafka/test_two_hosts.py types or stands in for."""


def test_every_setting_that_the_page_names_is_read_and_every_one_is_named() -> None:
    named = set(re.findall(rf"\b{PREFIX}([A-Z_]*[A-Z])\b(?!\.\.\.)", PAGE))
    # Of deploy/compose.yaml and deploy/postgres/registry.sql, which are no settings of the registry.
    named -= {f"{login}_PASSWORD" for login in ("OWNER", "SERVE", "STREAM")} | {"KAFKA_SECURITY"}
    assert named <= set(NAMES)
    ends = tuple(re.findall(r"`(_[A-Z_]+)`", PAGE))
    assert {name for name in NAMES if name not in named and not name.endswith(ends)} == set()
    for end in ends:
        assert any(name.endswith(end) for name in NAMES), end


@pytest.mark.parametrize("page", EVERY)
def test_every_metric_that_a_page_names_is_given(page: str, given: dict[str, set[str]]) -> None:
    users = {"registry_owner", "registry_serve", "registry_stream", "registry_database", "registry_keys"}
    roles = {"registry_write", "registry_read", "registry_project"}
    named = set(re.findall(r"`(registry_\w+)", EVERY[page])) - users - roles
    assert named <= {re.sub(r"_bucket$", "", name) for name in given}


@pytest.mark.parametrize("page", EVERY)
def test_every_call_that_a_page_names_is_a_route(page: str) -> None:
    routes = {route.partition(" ")[2] for route in ROUTES}
    for path in re.findall(r"`(?:GET|POST|PUT) (/\S+)`", EVERY[page]):
        assert path in routes, path


@pytest.mark.parametrize("page", EVERY)
def test_every_program_that_a_page_types_is_the_projects_own_or_a_usual_one(page: str) -> None:
    """The tools of Kafka, for example, are not there where `make kafka-up` started the broker."""
    assert re.findall(r"\bkafka-[\w-]+\.sh", EVERY[page]) == []
    allowed = PROGRAMS | (ON_A_HOST if page == "operating.md" else set())
    for _, block in SHELL.findall(EVERY[page]):
        text = re.sub(r"<<(\w+)\n.*?^\s*\1$", "", block.replace("\\\n", " "), flags=re.MULTILINE | re.DOTALL)
        for line in text.splitlines():
            words = [word for word in line.split() if not re.match(r"[A-Za-z_]+=", word)]
            if words and not words[0].startswith("#") and words[0] != "export" and "=" not in line.split()[0]:
                assert words[0].removeprefix(".venv/bin/").removeprefix("/opt/registry/.venv/bin/") in allowed


def test_every_runbook_is_named_on_the_page_and_says_when_all_is_well_again() -> None:
    for name, text in RUNBOOKS.items():
        assert f"(runbooks/{name})" in PAGE, name
        for part in ("**Symptom.**", "**What to do.**", "**Well again**"):
            assert part in text, (name, part)


def test_every_alert_is_in_one_runbook_which_is_its_own() -> None:
    for rule in RULES:
        pages = [
            name
            for name, text in RUNBOOKS.items()
            if f"`{rule['alert']}`" in text.partition("**What it means")[0]
        ]
        assert rule["annotations"]["runbook"].rpartition("/")[2] in pages, rule["alert"]


def test_no_runbook_names_an_alert_that_there_is_not() -> None:
    alerts = {rule["alert"] for rule in RULES}
    for name, text in RUNBOOKS.items():
        assert set(re.findall(r"`(Registry[A-Z]\w+)`", text)) <= alerts, name
