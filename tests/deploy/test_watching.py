"""Alerts and the dashboard speak of metrics that the service gives, and of runbooks that are there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from registry.cli.monitoring import monitored
from registry.kafka.brokers import Brokers
from registry.kafka.settings import KafkaSettings
from registry.postgres.connections import connect
from tests.api.asking import admitted, awarded
from tests.deploy.units import environment_of, read_unit
from tests.end_to_end.client import free_port
from tests.end_to_end.processes import PROJECT
from tests.end_to_end.test_monitoring import ask
from tests.kafka.topics import EVENTS
from tests.support import KEYS, Clock, Service, settings

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROJECT / "deploy/prometheus/rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
SCRAPED: dict[str, Any] = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yaml").read_text())
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


def given_by(text: str) -> dict[str, set[str]]:
    """The labels of each metric by its name."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.fixture
def given(service: Service, tmp_path: Path) -> dict[str, set[str]]:
    """What a service gives whose log goes through Kafka, and a relay or a consumer: labels by name."""
    _, institution = admitted(service)
    awarded(institution)
    connection = connect(service.url)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO stream (topic, partitions) VALUES (%s, 1)", (EVENTS,))
    connection.close()
    port = free_port()
    with monitored(settings(tmp_path, monitoring_port=port), "relay", time.monotonic, str):
        _, role = ask(port, "/metrics")
    app = create_app(service.url, KEYS, projecting=False, brokers=Brokers(KafkaSettings("127.0.0.1:1")))
    with TestClient(app) as client:
        client.get("/v1/institutions")  # requests are counted once there was one
        serve = Service(service.url, client, Clock()).as_("operator")("GET", "/metrics").text
    return {"up": {"job", "instance"}, **given_by(role), **given_by(serve)}


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


def test_prometheus_scrapes_every_role_at_its_port_as_the_job_that_the_alerts_name() -> None:
    jobs = {job["job_name"]: job for job in SCRAPED["scrape_configs"]}
    watched = {role: read_unit(f"registry-{role}.service") for role in ("serve", "relay", "consume")}
    ports = {
        role: environment_of(unit).get("REGISTRY_MONITORING_PORT", "8000") for role, unit in watched.items()
    }
    assert {
        name: {target.partition(":")[2] for config in job["static_configs"] for target in config["targets"]}
        for name, job in jobs.items()
    } == {
        "registry": {ports["serve"]},
        "registry-relay": {ports["relay"]},
        "registry-consume": {ports["consume"]},
    }
    assert [name for name, job in jobs.items() if "authorization" in job] == ["registry"]
    named = {
        job
        for rule in RULES
        for jobs_of_rule in re.findall(r'job=~?"([^"]+)"', rule["expr"])
        for job in jobs_of_rule.split("|")
    }
    assert named == set(jobs)
    for file in SCRAPED["rule_files"]:
        assert (PROJECT / "deploy" / "prometheus" / file).is_file()


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
