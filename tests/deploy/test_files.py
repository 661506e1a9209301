"""The files for container engines and nginx agree with the contract and the commands."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from api.http.ndjson import MAX_BATCH
from api.http.requests import MAX_BODY
from api.web.problem_pages import kinds
from registry.release import RELEASE
from registry.settings import NAMES, PREFIX
from tests.end_to_end.processes import PROJECT, explained

DEPLOY = PROJECT / "deploy"
PROXIES = {name: (DEPLOY / "nginx" / name).read_text() for name in ("nginx.conf", "two-hosts.conf")}
NGINX = "".join((DEPLOY / "nginx" / name).read_text() for name in ("http.conf", "server.conf"))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = {name: each for name, each in COMPOSE["services"].items() if each.get("user") == "10001:10001"}


def test_compose_runs_two_of_each_role_by_commands_that_there_are() -> None:
    assert {name: each["deploy"]["replicas"] for name, each in OURS.items() if "deploy" in each} == {
        "serve": 2,
        "relay": 2,
        "consume": 2,
    }
    for each in OURS.values():
        said = explained(each["command"][0])
        assert said.status == 0
        assert all(word in said.out for word in each["command"] if word.startswith("--"))


def test_each_role_has_its_own_login_and_password_and_only_two_have_the_key_file() -> None:
    logins = {
        name: re.findall(
            r"//(\w+)@",
            " ".join(str(each["environment"].get(f"REGISTRY_{url}DATABASE_URL")) for url in ("", "OWNER_")),
        )
        for name, each in OURS.items()
    }
    assert logins == {
        "migrate": ["registry_owner"],
        "serve": ["registry_serve"],
        **{name: ["registry_stream"] for name in ("topics", "relay", "consume")},
    }
    for name, each in OURS.items():
        secrets = set(re.findall(r"\$\{(\w+PASSWORD)", str(each["environment"])))
        (login,) = logins[name]
        kafka = {"topics": "ADMIN", "relay": "RELAY", "consume": "CONSUMER"}.get(name)
        assert secrets == {f"{login.upper()}_PASSWORD"} | ({f"KAFKA_{kafka}_PASSWORD"} if kafka else set())
    assert {name for name, each in OURS.items() if "keys:" in str(each.get("volumes"))} == {
        "migrate",
        "serve",
    }


def test_compose_gives_settings_that_are_read() -> None:
    for each in OURS.values():
        ours = {name for name in each["environment"] if name.startswith(PREFIX)}
        assert ours <= {f"{PREFIX}{name}" for name in NAMES}


def test_every_role_that_compose_keeps_running_has_a_health_check() -> None:
    for name, each in OURS.items():
        if each["restart"] == "unless-stopped":
            assert "/health/" in each["healthcheck"]["test"][-1], name
    port = COMPOSE["x-registry"]["environment"]["REGISTRY_MONITORING_PORT"]
    for name in ("relay", "consume"):
        assert f":{port}/health/live" in OURS[name]["healthcheck"]["test"][-1]


def test_no_password_is_built_in() -> None:
    for each in COMPOSE["services"].values():
        for name, value in each.get("environment", {}).items():
            if "PASSWORD" in name:
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), name
    assert "password" not in DOCKERFILE.lower()


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_every_container_has_few_rights_and_an_image_of_one_version(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only") or name == "kafka"
    assert "mem_limit" in service
    assert name in OURS or re.search(r":\d+\.\d+(\.\d+)?(@|$)", service["image"])
    assert service["restart"] == ("on-failure:5" if name in ("migrate", "topics") else "unless-stopped")


def test_the_files_that_compose_mounts_are_there() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).is_file(), volume


def test_the_image_holds_every_package_and_runs_as_who_owns_its_key_folder() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(re.findall(r"^COPY (\w+) ", DOCKERFILE, re.MULTILINE)) == set(packages)
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in kept if line.startswith("!")} == {"requirements.lock", *packages}
    assert "--require-hashes" in DOCKERFILE
    assert "-o 10001 -g 10001 -m 0700 /keys" in DOCKERFILE
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)


def test_nginx_has_the_limits_of_the_contract() -> None:
    sizes = [int(each) * 1024 * 1024 for each in re.findall(r"client_max_body_size (\d+)m;", NGINX)]
    assert sizes == [MAX_BODY, MAX_BATCH]


def test_what_nginx_refuses_is_a_problem_that_has_a_page() -> None:
    refusals = re.findall(
        r"return (\d+) '\{\"type\":\"/problems/([a-z-]+)\",\"title\":\"([^\"]+)\",\"status\":(\d+)", NGINX
    )
    assert {status for status, *_ in refusals} == {"400", "413", "429", "503"}
    for status, slug, title, said in refusals:
        assert (int(status), title) == kinds()[slug]
        assert said == status
    assert NGINX.count(f"add_header API-Version {RELEASE} always;") == len(refusals)
    assert NGINX.count("default_type application/problem+json;") == len(refusals)


def test_no_line_of_nginx_s_log_has_a_query() -> None:
    (line,) = re.findall(r"log_format plain '([^']+)'", NGINX)
    assert not set(line.split()) & {"$request", "$request_uri", "$args", "$query_string", "$http_referer"}
    for proxy in PROXIES.values():
        assert re.findall(r"access_log \S+ (\w+);", proxy) == ["plain"]
        assert re.findall(r"error_log \S+ (\w+);", proxy) == ["crit"]


def test_both_proxies_take_what_they_have_in_common_from_one_place() -> None:
    for proxy in PROXIES.values():
        assert re.findall(r"include (\S+);", proxy) == ["http.conf", "server.conf"]
