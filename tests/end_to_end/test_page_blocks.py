"""What the documents say to type is typed on the demo data, and what they show comes out.

A `console` block is typed line by line, and the answer that it shows is compared. A `sh` block is typed as a
whole and must succeed. `NOT_TYPED_HERE` names each block that is neither, and why.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg2.extensions import parse_dsn

from registry.postgres.connections import Login
from registry.postgres.embedded import EmbeddedPostgres, binaries
from tests.end_to_end.client import until
from tests.end_to_end.page_blocks import PROJECT, Block, blocks, comes_out, typed
from tests.end_to_end.processes import DEMO_EVENTS, REGISTRY, Serving, Workshop, environment, registry
from tests.end_to_end.servers import embedded_url, make_token
from tests.end_to_end.test_readme import FENCED, PAGES, RUNBOOKS
from tests.hosted import TITLES, expanded, folder
from tests.postgres.test_poison import insert
from tests.support import PATIENCE_SECONDS

KAFKA = "needs Kafka: tests/kafka/test_readme.py types it"
STOPPED = "needs a read model that has stopped: a test of its own in this file"
CODE = "is code to add, which the type checker and the tests lead to; tests/unit/test_extending.py"
OWN_DATABASE = "needs a PostgreSQL of one's own: tests of their own in this file"
TWO_HOSTS = "needs two hosts: tests/kafka/test_two_hosts.py types it"
CLUSTER = "needs a cluster: tests/deploy/test_kubernetes.py checks the files"
DRAWING = "is a drawing"
NOT_TYPED_HERE = {
    ("README.md", "$ make run"): "tests/end_to_end/test_make_run.py",
    ("README.md", '{"id":"723dcfdc-'): "tests/end_to_end/test_make_run.py",
    ("README.md", "POST /v1/..."): DRAWING,
    ("README.md", "export $(make kafka-up"): "tests/kafka/test_readme.py",
    ("docs/clients.md", "import json, os, time"): "tests/end_to_end/test_clients_page.py",
    ("docs/events.md", "import hashlib, json"): "tests/api/test_events_page.py",
    ("docs/events.md", "import json, os"): "tests/api/test_events_page.py",
    ("docs/extending.md", ""): CODE,
    ("docs/operating.md", "CREATE ROLE registry_owner"): OWN_DATABASE,
    ("docs/operating.md", "REGISTRY_OWNER_DATABASE_URL=postgresql://"): OWN_DATABASE,
    ("docs/operating.md", "# on "): TWO_HOSTS,
    ("docs/operating.md", "REGISTRY_KEY_FILE=keys.json"): CLUSTER,
    ("docs/operating.md", "kubectl "): CLUSTER,
    ("docs/operating.md", "export POSTGRES_PASSWORD=..."): "needs containers: tests/deploy/test_files.py",
    ("docs/runbooks/broker-lost.md", "env -u REGISTRY_KAFKA"): KAFKA,
    ("docs/runbooks/gap.md", "registry topics"): KAFKA,
    ("docs/runbooks/gap.md", "env -u REGISTRY_KAFKA"): KAFKA,
    (
        "docs/runbooks/not-ready.md",
        "curl -s http://127.0.0.1:8000/metrics",
    ): "finds nothing if nothing failed",
    ("docs/runbooks/partitions.md", "registry topics"): KAFKA,
    ("docs/runbooks/poison-event.md", "registry "): STOPPED,
    ("docs/runbooks/relay-ahead.md", "registry topics"): KAFKA,
    ("docs/runbooks/restore.md", "registry restore FOLDER"): "tests/end_to_end/test_backup.py",
    ("docs/runbooks/topic-lost.md", "registry topics"): KAFKA,
}
OTHER_CODE = re.compile(r"registry |curl |psql |kafka-|chronyc |du |SELECT |DROP |-- ")
ALL = [block for page in PAGES for block in blocks(page)]
MESSAGES = [block for block in ALL if block.page.startswith("docs/runbooks/") and not block.language]
TRANSLATED = [block for block in ALL if block.page == "README.nl.md"]


def named(block: Block) -> list[tuple[str, str]]:
    """The names of `NOT_TYPED_HERE` that mean this block."""
    return [name for name in NOT_TYPED_HERE if name[0] == block.page and block.text.startswith(name[1])]


def typed_here(page: str) -> list[Block]:
    known = (*MESSAGES, *TRANSLATED)
    return [block for block in ALL if block.page == page and block not in known and not named(block)]


TYPED_PAGES = [page for page in PAGES if typed_here(page)]


def test_a_block_that_is_not_typed_here_is_in_the_documents_and_has_a_reason_that_is_there() -> None:
    used = [name for block in ALL for name in named(block)]
    assert set(used) == set(NOT_TYPED_HERE)
    for reason in NOT_TYPED_HERE.values():
        for file in re.findall(r"tests/[\w/]+\.py", reason):
            assert (PROJECT / file).is_file(), reason


def test_every_block_is_of_a_language_that_is_typed_or_is_named_here() -> None:
    for page in TYPED_PAGES:
        for block in typed_here(page):
            assert block.language in ("sh", "console"), str(block)


def address_of(data: Path, login: Login) -> str:
    """The embedded PostgreSQL's address as an operator would write it."""
    parts = parse_dsn(EmbeddedPostgres(data).url_as(login))
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={quote(parts['host'], safe='')}"


class Desk:
    """A service on the demo data, and a shell beside it in which a page's commands are typed."""

    def __init__(self, serving: Serving, folder: Path) -> None:
        self.serving, self._folder = serving, folder
        url = embedded_url(serving.data)
        serving.settled()
        with serving.client(auditor := make_token(url, "auditor")) as client:
            (module,) = client.items("/v1/modules?institution=27UM&reference=KLINRED")
            log = [json.loads(line) for line in client.ask("GET", "/v1/events").body.splitlines()]
        revoked = log[DEMO_EVENTS - 1]
        award = next(event for event in log if event["subject"] == revoked["subject"])
        ended = registry("token", "create", "--role", "auditor", data_dir=serving.data).last_line
        self._variables = {
            "REGISTRY": serving.address,
            "AUDITOR": auditor,
            "STATISTICIAN": make_token(url, "statistician"),
            "TOKEN": make_token(url, "institution", institution="27UM"),
            "MODULE": module["id"],
            "BADGE": revoked["subject"],
            "POSITION": str(revoked["position"]),
            "TIME": award["time"],
            "ID": ended.split("_")[1],
            "REGISTRY_DATABASE_URL": address_of(serving.data, "registry_serve"),
            "REGISTRY_OWNER_DATABASE_URL": address_of(serving.data, "registry_owner"),
        }

    def type(self, text: str) -> str:
        """What the commands answer; they must succeed."""
        text = text.replace(".venv/bin/registry", "registry").replace(
            "http://127.0.0.1:8000", self.serving.address
        )
        text = re.sub(r"(?<= )ID$", "$ID", text, flags=re.MULTILINE)
        env = environment(data_dir=self.serving.data) | self._variables
        env["PATH"] = os.pathsep.join((str(Path(REGISTRY).parent), str(binaries()), env["PATH"]))
        done = subprocess.run(
            ["bash", "-e", "-c", text],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self._folder,
            env=env,
        )
        assert done.returncode == 0, (text, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Desk]:
    place = tmp_path_factory.mktemp("desk")
    folder(place / "answers", a=expanded("a"))
    (place / "awards.csv").write_text(f"{TITLES}\na@example.org;averzonnen@hhs.nl;;;;;8\n")
    workshop = Workshop(place, model)
    yield Desk(workshop.serve(workshop.data()), place)
    workshop.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", TYPED_PAGES)
def test_what_a_page_says_to_type_works_and_answers_what_the_page_shows(page: str, desk: Desk) -> None:
    for block in typed_here(page):
        if block.language == "sh":
            assert "/problems/" not in desk.type(block.text), str(block)
        else:
            for each in typed(block):
                answer = desk.type(each.command)
                assert comes_out(each.shown, answer), (str(block), each.command, answer)


def test_the_translated_page_shows_the_same_as_the_english_one() -> None:
    english = {block.text for block in blocks("README.md") if block.language}
    shown = [block for block in TRANSLATED if block.language]
    assert shown
    assert {block.text for block in shown} <= english


class Words:
    """The texts of the program, in clauses and in pieces between which something is filled in."""

    def __init__(self, pieces: set[str]) -> None:
        self._pieces = sorted((piece for piece in pieces if len(piece) >= 6), key=len, reverse=True)

    def say(self, text: str) -> bool:
        """Whether the program says this: beside its pieces there are no two words, only what is filled in.

        A line of the log may name an error first, and a page may show a part of a sentence.
        """
        text = re.sub(r"^\w+Error ", "", text.replace("`", ""))
        if any(text in piece for piece in self._pieces):
            return True
        for piece in self._pieces:
            text = text.replace(piece, "|")
        return re.search(r"[a-z]{2,} [a-z]{2,}", text) is None


@pytest.fixture(scope="module")
def words() -> Words:
    pieces: set[str] = set()
    for folder_name in ("registry", "projections", "consumers", "api"):
        for file in (PROJECT / folder_name).rglob("*.*"):
            if file.suffix == ".py":
                pieces |= set(texts(ast.parse(file.read_text())))
            elif file.suffix == ".sql":
                pieces |= set(re.findall(r"'([^'\n]+)'", file.read_text()))
    return Words(pieces)


def texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            clauses = re.split(r"%[sd]|[;:.]\s", node.value.replace("`", ""))
            yield from (clause.strip() for clause in clauses)


def quoted(page: str) -> Iterator[str]:
    """What a page says that a program prints: blocks without a language, and code that is no command."""
    for block in blocks(page):
        if not block.language:
            yield from block.text.splitlines()
    for code in re.findall(r"`([^`\n]+)`", FENCED.sub("", (PROJECT / page).read_text())):
        if " " in code and len(code) > 20 and not OTHER_CODE.match(code):
            yield code


@pytest.mark.parametrize("page", RUNBOOKS)
def test_what_a_runbook_quotes_is_in_the_words_of_the_program(page: str, words: Words) -> None:
    for line in quoted(page):
        assert words.say(line), line


def test_the_manual_makes_the_logins_and_the_database_as_the_file_that_is_deployed() -> None:
    (manual,) = blocks("docs/operating.md", "sql")
    deployed = (PROJECT / "deploy/postgres/registry.sql").read_text()
    statements = re.findall(r"^CREATE .*;$", deployed, re.MULTILINE)
    assert [re.sub(r":'\w+'", "'...'", statement) for statement in statements] == manual.text.splitlines()


@pytest.mark.slow
def test_the_manual_migrates_and_serves_on_a_database_of_ones_own(workshop: Workshop) -> None:
    (block,) = (
        block for block in blocks("docs/operating.md", "sh") if block.text.startswith("REGISTRY_OWNER")
    )
    other = workshop.other_postgres()
    migrate, serve = (
        line.replace("...@db.example.org", f"{other.PASSWORD}@127.0.0.1:{other.port}").replace(
            ".venv/bin/registry", f"exec '{REGISTRY}'"
        )
        for line in block.text.splitlines()
    )
    settings = environment(data_dir=workshop.empty_data(), port=0)
    migrating = workshop.run(["sh", "-c", migrate], settings, workshop.folder)
    assert migrating.process.wait(120) == 0, migrating.said()
    serving = workshop.run(["sh", "-c", serve], settings, workshop.folder)
    serving.line(r"^(Microcredential registry: http)")
    assert serving.stop() == 0, serving.said()


SUSPENDED = (
    '{"awardedOn":"2023-04-19","channel":"api","client":"c","institution":"27UM","learnerId":"l",'
    '"moduleId":"m","moduleVersion":1,"reason":"appeal","salt":"00"}'
)


@pytest.mark.slow
def test_the_page_on_a_poison_event_leads_to_a_read_model_that_goes_on(workshop: Workshop) -> None:
    page = "docs/runbooks/poison-event.md"
    serving = workshop.serve(workshop.data())
    desk, url = Desk(serving, workshop.folder), embedded_url(serving.data)
    poison = insert(url, "badge.suspended", 1, SUSPENDED)

    def here(text: str) -> str:
        """The page's event is at 3034."""
        return text.replace("3034", str(poison)).replace("3033", str(poison - 1))

    def stopped(name: str) -> str:
        with serving.client() as client:
            models = client.ask("GET", "/health/ready").json["readModels"]
        (found,) = (model for model in models if model["name"] == name)
        return json.dumps(found, separators=(",", ":")) if "stoppedAt" in found else ""

    (shown,) = blocks(page, "")
    look, retry, skip = (here(block.text) for block in blocks(page, "sh"))
    stands = until(lambda: stopped("badges"), PATIENCE_SECONDS, "a read model that has stopped")
    assert comes_out(here(shown.text), stands), stands
    assert json.loads(desk.type(look))["position"] == poison
    desk.type(retry)
    for name in ("badges", "statistics"):
        until(lambda name=name: stopped(name), PATIENCE_SECONDS, f"{name} that has stopped")  # type: ignore[misc]
    desk.type(skip)
    desk.type(skip.replace("badges", "statistics"))
    serving.settled()
