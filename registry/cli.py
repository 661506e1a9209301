"""The command `registry`."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence

import psycopg2

from api.app import create_app, read_models, utc_now
from projections.read_model import install
from registry import demo, replay, setup, tokens
from registry.application import Registry
from registry.domain.errors import Refusal
from registry.domain.values import BRIN, UUID
from registry.embedded import EmbeddedPostgresError
from registry.feed import last_position
from registry.keys import KeyFileError, Keys
from registry.migrate import SchemaTooNewError, migrate
from registry.postgres import Pool, PrivilegedRoleError, UnavailableError, check_roles
from registry.serve import serve
from registry.settings import Settings, SettingsError, read_settings, unknown_settings

log = logging.getLogger("registry")
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
Run = Callable[[Settings, argparse.Namespace], int]

FAILURES = (
    SettingsError,
    KeyFileError,
    EmbeddedPostgresError,
    SchemaTooNewError,
    setup.NotMigratedError,
    PrivilegedRoleError,
    UnavailableError,
    Refusal,
    replay.NotYetRecordedError,
)


class UsageError(Exception):
    """The words of the command do not fit together."""


def main(words: Sequence[str] | None = None) -> int:
    """Exit status 0, 1 (refused or failed) or 2 (bad usage)."""
    parser = _parser()
    arguments = parser.parse_args(words)
    # Ending by an exception lets go of the embedded PostgreSQL; `serve` has handlers of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        settings = read_settings()
        logging.basicConfig(
            level=settings.log_level,
            stream=sys.stderr,
            format="%(asctime)s %(levelname)s %(name)s %(message)s",
        )
        logging.getLogger("fastapi").setLevel(logging.ERROR)
        for name in unknown_settings():
            log.warning("nothing reads the setting %s", name)
        run: Run = arguments.run
        return run(settings, arguments)
    except UsageError as error:
        parser.error(str(error))
    except FAILURES as error:
        print(f"registry: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who reads has had enough, as `head` has; nothing may be written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"registry: {error.strerror or type(error).__name__}: {error.filename}", file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        # Its text may hold a row's values.
        print(f"registry: PostgreSQL refused ({type(error).__name__})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="registry",
        description="The microcredential registry. Settings come from REGISTRY_* in the environment.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: Run, said: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=said, description=said)
        command.set_defaults(run=run)
        return command

    served = add("serve", _serve, "Serve the API, and keep the read models up to date.")
    served.add_argument("--demo", action="store_true", help="print three curl lines to try, tokens filled in")
    add("migrate", _migrate, "Bring the database to this release; make the secrets of an empty one.")
    add("demo-data", _demo_data, "Record the pilot's data, once.")
    replay_ = add("replay", _replay, "Print the log, count it, or fold a badge as it was.")
    replay_.add_argument("--after", type=_position, default=0, metavar="N", help="begin after this position")
    replay_.add_argument("--until", type=_time, metavar="TIME", help="end with what was recorded by then")
    replay_.add_argument("--format", choices=("ndjson", "summary"), help="ndjson unless named")
    replay_.add_argument("--as-of", type=_moment, metavar="TIME|POSITION", help="with --badge")
    replay_.add_argument("--badge", metavar="ID", help="fold this badge as of then")
    _add_token(commands)
    return parser


def _add_token(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    token = commands.add_parser("token", help="Make and revoke tokens.")
    actions = token.add_subparsers(required=True, metavar="action")
    create = actions.add_parser("create", help="Make a token; it is printed alone on the last line.")
    create.add_argument("--role", required=True, choices=tokens.ROLES)
    create.add_argument("--institution", metavar="BRIN", help="for the role institution")
    create.add_argument("--learner", metavar="ID", help="for the role learner")
    create.add_argument("--expires-in", type=_lifetime, default=_lifetime("30d"), metavar="30d")
    create.add_argument("--name", metavar="TEXT", help="to tell tokens apart; kept in the database only")
    create.set_defaults(run=_create_token)
    revoke = actions.add_parser("revoke", help="Revoke a token for ever.")
    revoke.add_argument("token", help="the token, or its id (its middle part)")
    revoke.set_defaults(run=_revoke_token)


def _lifetime(text: str) -> dt.timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError("is no time as 30d, 12h, 5m or 10s")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[found[2]]
    return dt.timedelta(**{unit: int(found[1])})


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError("is no position")
    return int(text)


def _time(text: str) -> dt.datetime:
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("is no time of RFC 3339") from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError("has no offset from UTC; add Z or +01:00")
    return time


def _moment(text: str) -> dt.datetime | int:
    return _position(text) if text.isdigit() else _time(text)


def _migrate(settings: Settings, _: argparse.Namespace) -> int:
    with setup.database(settings) as url, setup.owner(url) as connection:
        done = migrate(connection)
        made = install(connection, read_models())
        setup.open_keys(connection, settings)
    for each in done:
        print(f"migrated: {each}")
    for each in made:
        print(f"read model: {each}")
    if not done and not made:
        print("nothing to migrate")
    return 0


def _opened(url: str, settings: Settings) -> Keys:
    """The secrets of a database that is ready for this release."""
    with setup.owner(url) as connection:
        setup.check_migrated(connection)
        keys = setup.open_keys(connection, settings)
    check_roles(url)
    return keys


def _serve(settings: Settings, arguments: argparse.Namespace) -> int:
    for line in settings.shown():
        log.info("%s", line)
    with setup.database(settings) as url:
        keys = _opened(url, settings)

        def lines(address: str) -> list[str]:
            return _curl_lines(url, keys, address) if arguments.demo else []

        return serve(settings, create_app(url, keys), lines)


def _demo_data(settings: Settings, _: argparse.Namespace) -> int:
    with setup.database(settings) as url:
        registry = Registry(url, _opened(url, settings), utc_now)
        try:
            last = demo.load(registry)
        finally:
            registry.close()
    print(f"the pilot's data is recorded, through position {last}")
    return 0


def _replay(settings: Settings, arguments: argparse.Namespace) -> int:
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


def _create_token(settings: Settings, arguments: argparse.Namespace) -> int:
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


def _revoke_token(settings: Settings, arguments: argparse.Namespace) -> int:
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


if __name__ == "__main__":
    sys.exit(main())
