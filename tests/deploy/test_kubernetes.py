"""The base for Kubernetes: valid by its schemas, with commands, settings, ports and rights that there are.

No cluster and no kustomize is needed: what the base asks of kustomize is little, and `built` does it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import utils as kubernetes

from registry.settings import NAMES, PREFIX, read_settings
from tests.end_to_end.processes import PROJECT, explained

BASE = PROJECT / "deploy" / "kubernetes"
PAGE = (
    (PROJECT / "docs" / "operating.md").read_text().partition("\n## On Kubernetes\n")[2].partition("\n## ")[0]
)
VERSIONS = ("1.30", kubernetes.latest_version())
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((BASE / "kustomization.yaml").read_text())
SECRETS = "/run/registry/"
Object = dict[str, Any]


def built() -> list[Object]:
    """The objects of the base, as kustomize makes them."""
    assert set(KUSTOMIZATION) == {"apiVersion", "kind", "namespace", "labels", "images", "resources"}
    (image,) = KUSTOMIZATION["images"]
    (labels,) = KUSTOMIZATION["labels"]
    found = []
    for name in KUSTOMIZATION["resources"]:
        for each in yaml.safe_load_all((BASE / name).read_text()):
            made = copy.deepcopy(each)
            made["metadata"] |= {"namespace": KUSTOMIZATION["namespace"], "labels": dict(labels["pairs"])}
            for pod in pods(made):
                pod["metadata"]["labels"] |= labels["pairs"]
                for container in containers(pod):
                    assert container["image"] == image["name"]
                    container["image"] += f":{image['newTag']}"
            found.append(made)
    return found


def pods(made: Object) -> Iterator[Object]:
    """The template of an object's pods, if it has any."""
    if made["kind"] in ("Deployment", "Job"):
        yield made["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


OBJECTS = built()
BY_NAME = {(made["kind"], made["metadata"]["name"]): made for made in OBJECTS}
PODS = {made["metadata"]["name"]: pod for made in OBJECTS for pod in pods(made)}
ROLES = [
    (name, container) for name, pod in PODS.items() for container in containers(pod) if "args" in container
]
DEPLOYED = [made["metadata"]["name"] for made in OBJECTS if made["kind"] == "Deployment"]


def role_id(value: Any) -> str:
    return value if isinstance(value, str) else value["name"]


def test_each_object_is_there_once() -> None:
    assert len(BY_NAME) == len(OBJECTS)
    assert DEPLOYED == ["registry-serve", "registry-relay", "registry-consume"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("made", OBJECTS, ids=lambda made: f"{made['kind']}-{made['metadata']['name']}")
def test_every_object_is_valid_by_the_schemas_of_kubernetes(made: Object, version: str) -> None:
    kubernetes.validate(made, version, strict=True)


def test_the_schemas_refuse_a_member_that_kubernetes_does_not_know() -> None:
    wrong = copy.deepcopy(BY_NAME["Deployment", "registry-serve"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(wrong, VERSIONS[-1], strict=True)


def environment(container: Object) -> dict[str, str]:
    """The variables of a container."""
    given: dict[str, str] = {}
    for source in container["envFrom"]:
        given |= BY_NAME["ConfigMap", source["configMapRef"]["name"]]["data"]
    return given | {variable["name"]: variable["value"] for variable in container["env"]}


def secrets(pod: Object, container: Object) -> dict[str, str]:
    """The secrets that a container sees, by the folder in which they are."""
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    return {
        mount["mountPath"]: volumes[mount["name"]]["secret"]["secretName"]
        for mount in container["volumeMounts"]
        if "secret" in volumes[mount["name"]]
    }


@pytest.mark.parametrize(("name", "container"), ROLES, ids=role_id)
def test_a_container_runs_a_command_that_there_is_with_settings_that_work(
    name: str, container: Object, tmp_path: Path
) -> None:
    said = explained(container["args"][0])
    assert said.status == 0
    assert all(word in said.out for word in container["args"] if word.startswith("--"))
    given = environment(container)
    assert {variable.removeprefix(PREFIX) for variable in given} <= set(NAMES)
    seen = secrets(PODS[name], container)
    for variable, value in given.items():
        if value.startswith("/"):
            folder, _, file = value.rpartition("/")
            assert f"--from-file={file}=" in secret_on_the_page(seen[folder]), variable
            (tmp_path / file).write_text("postgresql://registry@db.example.org/registry")
            given[variable] = str(tmp_path / file)
    read_settings(given)


def secret_on_the_page(name: str) -> str:
    """The words with which the page makes a secret."""
    (found,) = re.findall(rf"^kubectl .*create secret generic {name} (.*)$", PAGE, re.MULTILINE)
    return str(found)


def test_each_role_sees_its_own_secrets_and_two_alone_the_key_file() -> None:
    seen = {container["name"]: set(secrets(PODS[name], container).values()) for name, container in ROLES}
    assert seen == {
        "migrate": {"registry-owner"},
        "topics": {"registry-stream", "registry-kafka-admin"},
        "serve": {"registry-serve"},
        "relay": {"registry-stream", "registry-kafka-relay"},
        "consume": {"registry-stream", "registry-kafka-consume"},
    }
    keys = {name for name, pod in PODS.items() if "registry-keys" in str(pod["spec"]["volumes"])}
    assert keys == {"registry-migrate", "registry-serve"}
    made = set(re.findall(r"create secret generic ([\w-]+) ", PAGE))
    assert made == set().union(*seen.values()) | {"registry-keys"}


def test_no_secret_is_in_the_base() -> None:
    assert not [made for made in OBJECTS if made["kind"] == "Secret"]
    for _, container in ROLES:
        for variable, value in environment(container).items():
            secret = "PASSWORD" in variable or variable.endswith("DATABASE_URL")
            assert not secret or (variable.endswith("_FILE") and value.startswith(SECRETS)), variable


@pytest.mark.parametrize("name", PODS)
def test_every_pod_has_few_rights_and_bounded_memory(name: str) -> None:
    pod = PODS[name]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001, "the user of deploy/Dockerfile"
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(PODS[name]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
    for volume in pod["volumes"]:
        assert "secret" in volume or volume["emptyDir"]["sizeLimit"]


def test_a_service_gets_requests_while_it_lives_also_when_it_is_not_ready_to_record() -> None:
    (serve,) = PODS["registry-serve"]["spec"]["containers"]
    paths = {probe: serve[probe]["httpGet"]["path"] for probe in serve if probe.endswith("Probe")}
    assert paths == {
        "startupProbe": "/health/ready",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/live",
    }
    assert {port["name"]: port["containerPort"] for port in serve["ports"]} == {"http": 8000}


@pytest.mark.parametrize("role", ["relay", "consume"])
def test_relay_and_consumers_are_probed_at_their_monitoring_port(role: str) -> None:
    (container,) = PODS[f"registry-{role}"]["spec"]["containers"]
    paths = {probe: container[probe]["httpGet"] for probe in container if probe.endswith("Probe")}
    assert paths == {
        "livenessProbe": {"path": "/health/live", "port": "monitoring"},
        "readinessProbe": {"path": "/health/ready", "port": "monitoring"},
    }
    (port,) = container["ports"]
    assert str(port["containerPort"]) == environment(container)["REGISTRY_MONITORING_PORT"]


@pytest.mark.parametrize("name", DEPLOYED)
def test_each_role_has_two_pods_that_are_not_taken_away_together(name: str) -> None:
    assert BY_NAME["Deployment", name]["spec"]["replicas"] == 2
    labels = PODS[name]["metadata"]["labels"]
    budget = BY_NAME["PodDisruptionBudget", name]["spec"]
    assert budget["minAvailable"] == 1
    selectors = [
        BY_NAME["Deployment", name]["spec"]["selector"],
        budget["selector"],
        PODS[name]["spec"]["topologySpreadConstraints"][0]["labelSelector"],
    ]
    for selector in selectors:
        assert selector["matchLabels"].items() <= labels.items()


def test_only_the_ports_of_the_roles_are_open_to_others() -> None:
    policies = [made["spec"] for made in OBJECTS if made["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    opened = {
        port["port"] for policy in policies for rule in policy.get("ingress", []) for port in rule["ports"]
    }
    listening = {
        port["containerPort"]
        for pod in PODS.values()
        for container in containers(pod)
        for port in container.get("ports", [])
    }
    assert opened == listening
    assert all(rule["from"] for policy in policies for rule in policy.get("ingress", []))
    out = {port["port"] for policy in policies for rule in policy.get("egress", []) for port in rule["ports"]}
    assert out == {53, 5432, 9092}
    service = BY_NAME["Service", "registry"]["spec"]
    assert service["selector"].items() <= PODS["registry-serve"]["metadata"]["labels"].items()
