"""Alerts and the dashboard speak of metrics that the service gives, and of runbooks that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from registry.postgres.connections import connect
from tests.api.asking import admitted, awarded
from tests.end_to_end.processes import PROJECT
from tests.kafka.topics import EVENTS
from tests.support import Service

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROJECT / "deploy/prometheus/rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((PROJECT / "deploy/grafana/registry.json").read_text())
RUNBOOKS = PROJECT / "docs" / "runbooks"
NAME = re.compile(r"\bregistry_\w+")
LABELS = re.compile(r"\b(\w+)\s*(?:=~|!~|!=|=)\s*\"")


def expressions() -> Iterator[str]:
    for rule in RULES:
        yield rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.fixture
def given(service: Service) -> dict[str, set[str]]:
    """What a service gives whose log goes through Kafka: labels by name."""
    _, institution = admitted(service)
    awarded(institution)
    connection = connect(service.url)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO stream (topic, partitions) VALUES (%s, 1)", (EVENTS,))
    connection.close()
    found: dict[str, set[str]] = {"up": {"job", "instance"}}
    for family in text_string_to_metric_families(service.as_("operator")("GET", "/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_expression_names_metrics_and_labels_that_the_service_gives(
    given: dict[str, set[str]],
) -> None:
    for expression in expressions():
        names = set(NAME.findall(expression)) or {"up"}
        assert names <= set(given), expression
        labels = set(LABELS.findall(expression))
        for each in re.findall(r"\bby \(([^)]+)\)", expression):
            labels |= set(each.replace(" ", "").split(","))
        known = {"job", "instance"}.union(*(given[name] for name in names))
        assert labels <= known, expression


def test_every_gauge_of_ours_is_watched_or_shown(given: dict[str, set[str]]) -> None:
    shown = {name for expression in expressions() for name in NAME.findall(expression)}
    ours = {name for name in given if name.startswith("registry_") and "http" not in name}
    assert ours == {name for name in shown if "http" not in name}


def test_every_alert_has_a_runbook_that_is_there_and_each_is_another() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert (PROJECT / rule["annotations"]["runbook"]).is_file(), rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_every_alert_is_named_in_its_runbook() -> None:
    for rule in RULES:
        assert rule["alert"] in (PROJECT / rule["annotations"]["runbook"]).read_text(), rule["alert"]


def test_the_dashboard_takes_whichever_prometheus_there_is() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"${datasource}"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_sentences_of_the_program_name_runbooks_that_are_there() -> None:
    named = {
        page
        for folder in ("registry", "consumers", "api", "docs", "deploy")
        for file in (PROJECT / folder).rglob("*")
        if file.suffix in (".py", ".md", ".yaml")
        for page in re.findall(r"runbooks/([a-z-]+\.md)", file.read_text())
    }
    assert named
    assert named <= {file.name for file in RUNBOOKS.glob("*.md")}
