"""The commands `registry migrate` and `registry token`."""

from __future__ import annotations

import argparse
import sys
import time

from consumers.rebuild import rebuild
from projections.all import read_models
from projections.read_model import install, outdated
from registry import tokens
from registry.cli import database
from registry.cli.common import UsageError, say
from registry.domain.values import BRIN, UUID
from registry.event_store import migrate
from registry.settings import Settings


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
        print(
            tokens.create_token(
                connection,
                arguments.role,
                arguments.expires_in,
                institution=arguments.institution,
                learner_id=arguments.learner,
                name=arguments.name,
            )
        )
    return 0


def run_token_revoke(settings: Settings, arguments: argparse.Namespace) -> int:
    with database.started(settings, "registry_owner") as url, database.owner(url) as connection:
        database.check_migrated(connection)
        if not tokens.revoke_token(connection, arguments.token):
            print("registry: the token is unknown or already revoked", file=sys.stderr)
            return 1
    # Every process forgets the token within this time: once the command ends, it is refused everywhere.
    time.sleep(tokens.KEPT_SECONDS)
    print("revoked")
    return 0
