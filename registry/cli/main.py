"""The command `registry`."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence

import psycopg2

from projections.all import read_models
from registry import tokens
from registry.cli import admin, demo, import_edubadges, replay, serve, stream
from registry.cli.common import FAILURES, UsageError
from registry.settings import Settings, read_settings, unknown_settings

log = logging.getLogger("registry")
MOST_PARTITIONS = 256
Run = Callable[[Settings, argparse.Namespace], int]


def main(words: Sequence[str] | None = None) -> int:
    """Exit status 0, 1 (refused or failed) or 2 (bad usage); without words, the process ends with it."""
    status = _run(words)
    if words is None:
        # At once: as Python takes itself apart, the Kafka client waits for threads that run no more.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            pass  # who reads has had enough
        except OSError as error:
            status = _unwritten(error)
        sys.stderr.flush()
        os._exit(status)
    return status


def _unwritten(error: OSError) -> int:
    """What was to be printed, a token perhaps, is lost."""
    print(f"registry: standard output: {error.strerror}", file=sys.stderr)
    return 1


def _run(words: Sequence[str] | None) -> int:
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
        logging.getLogger("kafka").setLevel(logging.WARNING)  # below that it tells of records
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
    words = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: Run, said: str) -> argparse.ArgumentParser:
        command = words.add_parser(name, help=said, description=said)
        command.set_defaults(run=run)
        return command

    served = add("serve", serve.run, "Serve the API, and keep the read models up to date.")
    served.add_argument("--demo", action="store_true", help="print three curl lines to try, tokens filled in")
    add("migrate", admin.run_migrate, "Bring the database to this release; make the secrets of an empty one.")
    add("demo-data", demo.run, "Record the pilot's data, once.")
    _add_stream(add)
    replay_ = add("replay", replay.run, "Print the log, count it, or fold a badge as it was.")
    replay_.add_argument("--after", type=_position, default=0, metavar="N", help="begin after this position")
    replay_.add_argument("--until", type=_time, metavar="TIME", help="end with what was recorded by then")
    replay_.add_argument("--format", choices=("ndjson", "summary"), help="ndjson unless named")
    replay_.add_argument("--as-of", type=_moment, metavar="TIME|POSITION", help="with --badge")
    replay_.add_argument("--badge", metavar="ID", help="fold this badge as of then")
    _add_import(words)
    _add_token(words)
    return parser


def _add_stream(add: Callable[[str, Run, str], argparse.ArgumentParser]) -> None:
    names = [model.name for model in read_models()]
    add("relay", stream.run_relay, "Carry the log to Kafka; of several relays one works.")
    topics = add("topics", stream.run_topics, "Make the topics that are not there, and check them.")
    topics.add_argument("--partitions", type=_partitions, metavar="N", help="1 unless named, or as recorded")
    topics.add_argument("--repartition", action="store_true", help="delete the topics and make them anew")
    add("consume", stream.run_consume, "Keep the read models up to date, apart from serving.")
    rebuild = add(
        "rebuild", stream.run_rebuild, "Build a read model anew beside the one that answers, and swap."
    )
    rebuild.add_argument("name", metavar="NAME", choices=names)
    rebuild.add_argument("--force", action="store_true", help="swap also where it differs from the old one")
    retry = add("retry", stream.run_retry, "Have a read model try the event again that stopped it.")
    skip = add("skip", stream.run_skip, "Have a read model pass over the event that stopped it, for ever.")
    for command in (retry, skip):
        command.add_argument("name", metavar="NAME", choices=names)
        command.add_argument("--because", required=True, metavar="TEXT", help="recorded; names no person")
    skip.add_argument("position", type=_position, metavar="POSITION", help="where it has stopped")


def _partitions(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MOST_PARTITIONS):
        raise argparse.ArgumentTypeError(f"is no number from 1 to {MOST_PARTITIONS}")
    return int(text)


def _add_import(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    import_ = words.add_parser("import", help="Record what was awarded elsewhere.")
    sources = import_.add_subparsers(required=True, metavar="source")
    said = import_edubadges.EDUBADGES
    edubadges = sources.add_parser("edubadges", help=said.partition(".")[0] + ".", description=said)
    import_edubadges.add_words(edubadges)
    edubadges.set_defaults(run=import_edubadges.run)


def _add_token(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    token = words.add_parser("token", help="Make and revoke tokens.")
    actions = token.add_subparsers(required=True, metavar="action")
    create = actions.add_parser("create", help="Make a token; it is printed alone on the last line.")
    create.add_argument("--role", required=True, choices=tokens.ROLES)
    create.add_argument("--institution", metavar="BRIN", help="for the role institution")
    create.add_argument("--learner", metavar="ID", help="for the role learner")
    create.add_argument("--expires-in", type=_lifetime, default=_lifetime("30d"), metavar="30d")
    create.add_argument("--name", metavar="TEXT", help="to tell tokens apart; kept in the database only")
    create.set_defaults(run=admin.run_token_create)
    revoke = actions.add_parser("revoke", help="Revoke a token for ever.")
    revoke.add_argument("token", help="the token, or its id (its middle part)")
    revoke.set_defaults(run=admin.run_token_revoke)


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
