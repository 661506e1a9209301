"""What the command `registry` does: a function for each of its words."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time

from api.app import create_app
from consumers.rebuild import rebuild
from projections.all import read_models
from projections.read_model import install, outdated
from registry import demo, import_command, migrate, replay, serve, setup, tokens
from registry.application import Registry, utc_now
from registry.command_line import UsageError, opened, say
from registry.domain.values import BRIN, UUID, day_in_amsterdam
from registry.feed import last_position
from registry.keys import Keys
from registry.postgres import Pool
from registry.settings import Settings


def migrate_(settings: Settings, _: argparse.Namespace) -> int:
    with setup.database(settings) as url, setup.owner(url) as connection:
        done = migrate.migrate(connection)
        made = install(connection, read_models())
        setup.open_keys(connection, settings)
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


def serve_(settings: Settings, arguments: argparse.Namespace) -> int:
    for line in settings.shown():
        print(line, file=sys.stderr)
    with setup.database(settings) as url:
        keys = opened(url, settings)

        def lines(address: str) -> list[str]:
            return _curl_lines(url, keys, address) if arguments.demo else []

        return serve.serve(settings, create_app(url, keys, projecting=settings.kafka is None), lines)


def demo_data(settings: Settings, _: argparse.Namespace) -> int:
    with setup.database(settings) as url:
        registry = Registry(url, opened(url, settings), utc_now)
        try:
            last = demo.load(registry)
        finally:
            registry.close()
    print(f"the pilot's data is recorded, through position {last}")
    return 0


def import_edubadges(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        import_command.check(arguments, day_in_amsterdam(utc_now()))
    except ValueError as error:
        raise UsageError(str(error)) from None
    with setup.database(settings) as url:
        registry = Registry(url, opened(url, settings), utc_now)
        try:
            return import_command.run(registry, arguments)
        finally:
            registry.close()


def replay_(settings: Settings, arguments: argparse.Namespace) -> int:
    if (arguments.badge is None) != (arguments.as_of is None):
        raise UsageError("--badge and --as-of go together")
    if arguments.badge is not None and (arguments.after or arguments.until or arguments.format):
        raise UsageError("--badge and --as-of stand alone: --after, --until and --format are for the log")
    if arguments.badge is not None and not UUID.fullmatch(arguments.badge):
        raise UsageError("--badge is a badge's id, a UUID")
    with setup.database(settings) as url:
        with setup.owner(url) as connection:
            setup.check_migrated(connection)
        pool = Pool(url, "registry_read", 1)
        try:
            if arguments.badge is not None:
                replay.print_badge(pool, arguments.badge, arguments.as_of)
                return 0
            until = replay.end(pool, arguments.after, arguments.until)
            show = replay.print_summary if arguments.format == "summary" else replay.print_log
            show(pool, arguments.after, until)
        finally:
            pool.close()
    return 0


def create_token(settings: Settings, arguments: argparse.Namespace) -> int:
    if (arguments.role == "institution") != (arguments.institution is not None):
        raise UsageError("--institution goes with --role institution, and is needed there")
    if (arguments.role == "learner") != (arguments.learner is not None):
        raise UsageError("--learner goes with --role learner, and is needed there")
    if arguments.institution is not None and not BRIN.fullmatch(arguments.institution):
        raise UsageError("--institution is a BRIN: two digits and two capitals or digits")
    if arguments.learner is not None and not UUID.fullmatch(arguments.learner):
        raise UsageError("--learner is a learner's id, a UUID")
    with setup.database(settings) as url, setup.owner(url) as connection:
        setup.check_migrated(connection)
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


def revoke_token(settings: Settings, arguments: argparse.Namespace) -> int:
    with setup.database(settings) as url, setup.owner(url) as connection:
        setup.check_migrated(connection)
        if not tokens.revoke_token(connection, arguments.token):
            print("registry: there is no such token, or it is revoked already", file=sys.stderr)
            return 1
    # Every process has forgotten it when this command ends.
    time.sleep(tokens.KEPT_SECONDS)
    print("revoked")
    return 0


def _curl_lines(url: str, keys: Keys, address: str) -> list[str]:
    """An award, its revocation and its status: they work as they are, and again."""
    reference = f"try-{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}"
    with setup.owner(url) as connection:
        with connection.cursor() as cursor:
            last = last_position(cursor)
        token = tokens.create_token(
            connection, "institution", dt.timedelta(days=1), institution=demo.HAAGSE, name="make run"
        )
    badge = f"{address}/v1/badges/{keys.made_id('badge', demo.HAAGSE, reference)}"
    post = f"curl -sS -X POST -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json'"
    award = (
        f'{{"reference": "{reference}", "moduleReference": "{demo.KLINRED.reference}",'
        f' "learner": {{"eduId": "a1b2c3d4-0000-4000-8000-000000000001"}}, "awardedOn": "{demo.AWARD_DAY}"}}'
    )
    return [
        "",
        f"{post} -d '{award}' {address}/v1/badges",
        f'{post} -d \'{{"reason": "awarded-in-error"}}\' {badge}/revocation',
        f"curl -sS '{badge}/status?minPosition={last + 2}'",
        "",
    ]
