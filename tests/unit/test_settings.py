"""The settings: from the environment only, all that is wrong said at once, secrets masked."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.settings import SettingsError, read_settings, unknown_settings


def test_without_an_environment_the_defaults_of_the_contract_hold() -> None:
    found = read_settings({})
    assert found.data_dir == Path.cwd() / "var"
    assert found.key_file == Path.cwd() / "var" / "keys.json"
    assert found.database_url is None
    assert (found.host, found.port, found.base_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert found.log_level == "INFO"


def test_every_setting_is_read() -> None:
    found = read_settings(
        {
            "REGISTRY_DATABASE_URL": "postgresql://user:geheim@db/registry",
            "REGISTRY_OWNER_DATABASE_URL": "postgresql://owner:geheimer@db/registry",
            "REGISTRY_DATA_DIR": "/srv/données",
            "REGISTRY_HOST": "0.0.0.0",
            "REGISTRY_PORT": "8080",
            "REGISTRY_BASE_URL": "https://registry.example.org/",
            "REGISTRY_KEY_FILE": "/run/keys.json",
            "REGISTRY_LOG_LEVEL": "debug",
            "PORT": "1",
        }
    )
    assert found.shown() == [
        "REGISTRY_DATABASE_URL=postgresql://user:***@db/registry",
        "REGISTRY_OWNER_DATABASE_URL=postgresql://owner:***@db/registry",
        "REGISTRY_DATA_DIR=/srv/données",
        "REGISTRY_HOST=0.0.0.0",
        "REGISTRY_PORT=8080",
        "REGISTRY_BASE_URL=https://registry.example.org",
        "REGISTRY_KEY_FILE=/run/keys.json",
        "REGISTRY_LOG_LEVEL=DEBUG",
    ]


def test_an_empty_setting_counts_as_absent() -> None:
    assert read_settings({"REGISTRY_PORT": "", "REGISTRY_DATABASE_URL": ""}) == read_settings({})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(
            {
                "REGISTRY_DATABASE_URL": "mysql://user:geheim@db/registry",
                "REGISTRY_OWNER_DATABASE_URL": "mysql://owner:geheim@db/registry",
                "REGISTRY_PORT": "http",
                "REGISTRY_BASE_URL": "registry.example.org",
                "REGISTRY_LOG_LEVEL": "loud",
            }
        )
    said = str(refused.value)
    for name in ("DATABASE_URL", "OWNER_DATABASE_URL", "PORT", "BASE_URL", "LOG_LEVEL"):
        assert f"REGISTRY_{name} must be" in said
    assert "geheim" not in said


@pytest.mark.parametrize("port", ["-1", "65536", "8000.0", "0x50", "٨٠", " 80", "1e3"])
def test_a_port_is_a_number_from_0_to_65535(port: str) -> None:
    with pytest.raises(SettingsError, match="REGISTRY_PORT"):
        read_settings({"REGISTRY_PORT": port})


@pytest.mark.parametrize("name", ["DATABASE_URL", "OWNER_DATABASE_URL", "BASE_URL"])
def test_an_address_that_cannot_be_read_is_said_to_be_wrong(name: str) -> None:
    scheme = "http" if name == "BASE_URL" else "postgresql"
    with pytest.raises(SettingsError, match=f"REGISTRY_{name}"):
        read_settings({f"REGISTRY_{name}": f"{scheme}://[::1/registry"})


def test_an_ipv6_host_stands_in_brackets_in_the_address() -> None:
    assert read_settings({"REGISTRY_HOST": "::1"}).base_url == "http://[::1]:8000"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:geheim@db:5432/registry",
        "postgresql://user:ge@heim:geheim@db/registry",
        "postgresql://:geheim@db/registry",
        "postgresql://user:geheim/geheim?geheim#geheim@db/registry",
        "postgresql://user@db/registry?password=geheim",
        "postgres:///registry?user=user&password=geheim&host=/tmp",
        "postgresql://user:geheim@[::1]:5432/registry",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    shown = "\n".join(read_settings({"REGISTRY_DATABASE_URL": url}).shown())
    assert "geheim" not in shown
    assert "/registry" in shown


def test_a_setting_that_nothing_reads_is_named() -> None:
    environment = {"REGISTRY_PROT": "1", "REGISTRY_PORT": "1", "REGISTRY_": "1", "PROT": "1"}
    assert unknown_settings(environment) == ["REGISTRY_", "REGISTRY_PROT"]
