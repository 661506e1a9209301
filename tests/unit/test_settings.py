"""The settings: from the environment only, all that is wrong said at once, secrets masked."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.settings import NAMES, SECRETS, SettingsError, read_settings, unknown_settings


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
            "REGISTRY_METRICS_NEED_TOKEN": "true",
            "REGISTRY_LOG_FORMAT": "json",
            "REGISTRY_ACCESS_LOG": "true",
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
        "REGISTRY_METRICS_NEED_TOKEN=true",
        "REGISTRY_LOG_FORMAT=json",
        "REGISTRY_ACCESS_LOG=true",
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
                "REGISTRY_METRICS_NEED_TOKEN": "yes",
                "REGISTRY_LOG_FORMAT": "xml",
                "REGISTRY_ACCESS_LOG": "yes",
            }
        )
    said = str(refused.value)
    for name in (
        "DATABASE_URL",
        "OWNER_DATABASE_URL",
        "PORT",
        "BASE_URL",
        "LOG_LEVEL",
        "METRICS_NEED_TOKEN",
        "LOG_FORMAT",
        "ACCESS_LOG",
    ):
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


URL = "postgresql://user:geheim@db/registry"
SECURED = {
    "REGISTRY_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "REGISTRY_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "REGISTRY_KAFKA_SECURITY_MECHANISM": "PLAIN",
    "REGISTRY_KAFKA_SECURITY_USERNAME": "registry",
}
VALUES = {"DATABASE_URL": URL, "KAFKA_SECURITY_PASSWORD": "geheim"}


def test_every_setting_that_holds_a_secret_can_be_in_a_file() -> None:
    assert set(VALUES) == set(SECRETS)
    assert {name for name in NAMES if "URL" in name or "PASSWORD" in name} - {"BASE_URL"} == {
        *SECRETS,
        *(f"{name}_FILE" for name in SECRETS),
    }


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_a_file_is_the_secret_itself(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{VALUES[name]}\n")
    in_file = {f"REGISTRY_{name}": "", f"REGISTRY_{name}_FILE": str(file)}
    found = read_settings(SECURED | given(VALUES) | in_file)
    assert found == read_settings(SECURED | given(VALUES))
    assert unknown_settings({f"REGISTRY_{name}_FILE": str(file)}) == []


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("content", [None, b"", b"\n", b"a\nb", b"\xff", b"x" * 8_193, b"a\0b"])
def test_a_file_that_holds_no_secret_is_refused_and_not_shown(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"REGISTRY_{name}_FILE must be") as refused:
        read_settings(SECURED | given(VALUES) | {f"REGISTRY_{name}": "", f"REGISTRY_{name}_FILE": str(file)})
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_not_given_twice(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text(VALUES[name])
    with pytest.raises(SettingsError, match=f"{name}_FILE must not both be set"):
        read_settings(SECURED | given(VALUES) | {f"REGISTRY_{name}_FILE": str(file)})


def given(values: dict[str, str]) -> dict[str, str]:
    return {f"REGISTRY_{name}": value for name, value in values.items()}
