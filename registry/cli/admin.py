"""`registry migrate` and `registry token`."""

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
    with database.started(settings) as url, database.owner(url) as connection:
        done = migrate.migrate(connection)
        made = install(connection, read_models())
        database.open_keys(connection, settings)
        for each in done:
            print(f"migrated: {each}")
        for each in made:
            print(f"read model: {each}")
        old = outdated(connection, read_models())
        for model in old:
            rebuild(url, model, say)
    if not done and not made and not old:
        print("nothing to migrate")
    return 0


def run_token_create(settings: Settings, arguments: argparse.Namespace) -> int:
    if (arguments.role == "institution") != (arguments.institution is not None):
        raise UsageError("--institution goes with --role institution, and is needed there")
    if (arguments.role == "learner") != (arguments.learner is not None):
        raise UsageError("--learner goes with --role learner, and is needed there")
    if arguments.institution is not None and not BRIN.fullmatch(arguments.institution):
        raise UsageError("--institution is a BRIN: two digits and two capitals or digits")
    if arguments.learner is not None and not UUID.fullmatch(arguments.learner):
        raise UsageError("--learner is a learner's id, a UUID")
    with database.started(settings) as url, database.owner(url) as connection:
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
    with database.started(settings) as url, database.owner(url) as connection:
        database.check_migrated(connection)
        if not tokens.revoke_token(connection, arguments.token):
            print("registry: there is no such token, or it is revoked already", file=sys.stderr)
            return 1
    # Every process has forgotten it when this command ends.
    time.sleep(tokens.KEPT_SECONDS)
    print("revoked")
    return 0
