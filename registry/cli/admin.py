"""The commands `registry migrate` and `registry token ..`."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time

from consumers.rebuild import rebuild
from projections.all import read_models
from projections.read_model import install, outdated
from registry import tokens
from registry.cli import database
from registry.cli.common import UsageError, say
from registry.domain.values import BRIN, UUID, iso_time
from registry.event_store import migrate
from registry.recording import operators
from registry.settings import Settings

MAX_TOKEN_LINE = 200


def run_migrate(settings: Settings, _: argparse.Namespace) -> int:
    with database.started(settings, "registry_owner") as url, database.owner(url) as connection:
        applied = migrate.migrate(connection)
        installed = install(connection, read_models())
        database.open_keys(connection, settings)
        for migration in applied:
            print(f"migrated: {migration}")
        for name in installed:
            print(f"created read model: {name}")
        old = outdated(connection, read_models())
        for model in old:
            rebuild(url, model, say)
    if not applied and not installed and not old:
        print("nothing to migrate")
    return 0


def run_token_create(settings: Settings, arguments: argparse.Namespace) -> int:
    if (arguments.role == "institution") != (arguments.institution is not None):
        raise UsageError("--institution and --role institution must be given together")
    if (arguments.role == "learner") != (arguments.learner is not None):
        raise UsageError("--learner and --role learner must be given together")
    if arguments.institution is not None and not BRIN.fullmatch(arguments.institution):
        raise UsageError("--institution must be a BRIN: two digits, then two capital letters or digits")
    if arguments.learner is not None and not UUID.fullmatch(arguments.learner):
        raise UsageError("--learner must be a learner's id, which is a UUID")
    with database.started(settings, "registry_owner") as url, database.owner(url) as connection:
        database.check_migrated(connection)
        token, expires_at = operators.create_token(
            connection,
            arguments.role,
            arguments.expires_in,
            institution=arguments.institution,
            learner_id=arguments.learner,
            name=arguments.name,
        )
    print(f"registry: the token expires at {iso_time(expires_at)}", file=sys.stderr)
    print(token)
    return 0


_COLUMNS = ("ID", "ROLE", "OF", "EXPIRES", "LAST USED", "STATE", "NAME")


def run_token_list(settings: Settings, _: argparse.Namespace) -> int:
    with database.started(settings, "registry_owner") as url, database.owner(url) as connection:
        database.check_migrated(connection)
        with connection.cursor() as cursor:
            listed = tokens.list_tokens(cursor)
    now = dt.datetime.now(dt.UTC)
    print("\t".join(_COLUMNS))
    for token in sorted(listed, key=lambda token: token.expires_at):
        state = "revoked" if token.revoked_at else "expired" if token.expires_at <= now else "valid"
        of, used = token.institution or token.learner_id or "-", token.last_used_on or "-"
        ends = iso_time(token.expires_at)
        print(token.id, token.role, of, ends, used, state, token.name or "-", sep="\t")
    return 0


def run_token_revoke(settings: Settings, arguments: argparse.Namespace) -> int:
    token_id = _token_id(arguments.token)
    with database.started(settings, "registry_owner") as url, database.owner(url) as connection:
        database.check_migrated(connection)
        if not operators.revoke_token(connection, token_id):
            print("registry: the token is unknown or already revoked", file=sys.stderr)
            return 1
    # Every process forgets the token within this time: once the command ends, it is refused everywhere.
    time.sleep(tokens.KEPT_SECONDS)
    print("revoked")
    return 0


def _token_id(argument: str) -> str:
    """The id to revoke; a whole token comes on standard input, so that no list of processes shows it."""
    if argument == "-":
        if (token_id := tokens.token_id(sys.stdin.readline(MAX_TOKEN_LINE).strip())) is None:
            raise UsageError("standard input must hold the token, or its id, on one line")
        return token_id
    if not tokens.TOKEN_ID.fullmatch(argument):
        raise UsageError(
            "ID must be the middle part of the token, 16 characters; give - and the whole token on standard"
            " input if you have nothing else"
        )
    return argument
