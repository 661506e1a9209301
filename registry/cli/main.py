"""The command `registry`: its subcommands, their arguments and their exit statuses."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg2

from projections.all import read_models
from registry import defects, logs, tokens
from registry.cli import admin, backup, demo, import_edubadges, replay
from registry.cli.common import UsageError
from registry.domain.errors import Refusal
from registry.domain.values import clean_line, lower_uuid
from registry.failures import Failure
from registry.release import RELEASE
from registry.settings import Settings, read_settings, unknown_settings

log = logging.getLogger("registry")
MAX_PARTITIONS = 256
MAX_REASON = 500
MAX_NAME = 100
Run = Callable[[Settings, argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0, 1 (refused or failed) or 2 (bad usage).

    Without `argv` it runs the command of this process.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    status = _run(parser, arguments)
    if argv is None:
        status = _flushed(status)
        if arguments.leaves_threads:
            # While Python shuts down, the Kafka client waits for threads that no longer run.
            os._exit(status)
    return status


def _flushed(status: int) -> int:
    """Writes what is buffered. Where that fails, Python must not try it again when it ends."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A reader such as `head` has closed the pipe: it wants no more.
        return status if isinstance(error, BrokenPipeError) else _unwritten(error)
    sys.stderr.flush()
    return status


def _unwritten(error: OSError) -> int:
    """The output, perhaps a token, is lost."""
    print(f"registry: cannot write to standard output: {error.strerror}", file=sys.stderr)
    return 1


def _run(  # noqa: PLR0911 - a status for each kind of failure
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> int:
    # An exception on the way out releases the embedded PostgreSQL; `serve` has its own handlers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        settings = read_settings()
        logs.configure(settings.log_level, settings.log_format)
        for name in unknown_settings():
            log.warning("unknown setting %s", name)
        run: Run = arguments.run
        return run(settings, arguments)
    except UsageError as error:
        parser.error(str(error))
    except (Failure, Refusal) as error:
        print(f"registry: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe: flushing at exit must not write to it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = "" if error.filename is None else f": {error.filename}"
        print(f"registry: {error.strerror or type(error).__name__}{place}", file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        # Its text may hold a row's values.
        print(f"registry: PostgreSQL refused ({type(error).__name__})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        log.critical("unexpected %s", defects.named(error))
        return 1


def _later(module: str, function: str) -> Run:
    """A command whose module is imported when it is called.

    The web framework and the client of Kafka take longer to import than everything else together.
    """

    def run(settings: Settings, arguments: argparse.Namespace) -> int:
        called: Run = getattr(importlib.import_module(f"registry.cli.{module}"), function)
        return called(settings, arguments)

    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="registry",
        description="The microcredential registry. Its settings are environment variables named REGISTRY_*.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {RELEASE}")
    parser.set_defaults(leaves_threads=False)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: Run, summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        return command

    serving = add("serve", _later("serve", "run"), "Serve the API, and keep the read models up to date.")
    serving.add_argument(
        "--demo", action="store_true", help="print three curl commands to try, with tokens filled in"
    )
    add("migrate", admin.run_migrate, "Migrate the database to this release; make keys for an empty one.")
    for name, run, summary in (
        ("backup", backup.run_backup, "Copy the database into a new folder, without the key file."),
        ("restore", backup.run_restore, "Fill an empty database from a backup; the key file must be there."),
    ):
        add(name, run, summary).add_argument("folder", metavar="FOLDER", type=Path)
    add("demo-data", demo.run, "Record the demo data, once: the pilot's first awards, and invented ones.")
    _add_stream(add)
    replaying = add("replay", replay.run, "Print the log, count its events, or show a badge as it was.")
    replaying.add_argument(
        "--after", type=_position, default=0, metavar="N", help="start after this position"
    )
    replaying.add_argument("--until", type=_time, metavar="TIME", help="stop at the last event by this time")
    replaying.add_argument("--format", choices=("ndjson", "summary"), help="default: ndjson")
    replaying.add_argument("--badge", type=lower_uuid, metavar="ID", help="with --as-of: show this badge")
    replaying.add_argument(
        "--as-of", type=_moment, metavar="TIME|POSITION", help="with --badge: as it was then"
    )
    _add_import(commands)
    _add_token(commands)
    return parser


def _add_stream(add: Callable[[str, Run, str], argparse.ArgumentParser]) -> None:
    names = [model.name for model in read_models()]
    relay = add("relay", _later("stream", "run_relay"), "Carry the log to Kafka; other relays stand by.")
    topics = add(
        "topics", _later("stream", "run_topics"), "Create the topics that are missing, and set them up."
    )
    topics.add_argument(
        "--partitions", type=_partitions, metavar="N", help="default: as recorded, at first 1"
    )
    topics.add_argument(
        "--relay-user", metavar="NAME", help="give this user of Kafka the rights that a relay needs"
    )
    topics.add_argument(
        "--consumer-user", metavar="NAME", help="give this user of Kafka the rights that a consumer needs"
    )
    topics.add_argument(
        "--print-after",
        type=_position,
        metavar="N",
        help="only print the events on the topic after this position, as `replay` prints the log",
    )
    topics.add_argument("--repartition", action="store_true", help="delete and recreate the topics")
    _add_because(topics, "required with --repartition")
    consume = add(
        "consume", _later("stream", "run_consume"), "Keep the read models up to date, apart from `serve`."
    )
    for command in (relay, consume):
        command.set_defaults(leaves_threads=True)
    rebuild = add(
        "rebuild",
        _later("stream", "run_rebuild"),
        "Build a new copy of a read model beside the old one, and swap them.",
    )
    rebuild.add_argument("name", metavar="NAME", choices=names)
    rebuild.add_argument("--force", action="store_true", help="swap even if the new copy differs")
    _add_because(rebuild, "required with --force")
    retry = add(
        "retry", _later("stream", "run_retry"), "Make a read model retry the event at which it stopped."
    )
    skip = add(
        "skip",
        _later("stream", "run_skip"),
        "Make a read model permanently skip the event at which it stopped.",
    )
    for command in (retry, skip):
        command.add_argument("name", metavar="NAME", choices=names)
        _add_because(command, "required")
    skip.add_argument("position", type=_position, metavar="POSITION", help="the position at which it stopped")


def _add_because(command: argparse.ArgumentParser, when: str) -> None:
    command.add_argument(
        "--because",
        type=_reason,
        required=when == "required",
        metavar="TEXT",
        help=f"the reason, which must name no person: it is recorded in the log permanently; {when}",
    )


def _reason(text: str) -> str:
    return _line(text, MAX_REASON)


def _name(text: str) -> str:
    return _line(text, MAX_NAME)


def _line(text: str, most: int) -> str:
    """A text by the rules for every text that is recorded."""
    try:
        return clean_line(text, most)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _partitions(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_PARTITIONS):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_PARTITIONS}")
    return int(text)


def _add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    importing = commands.add_parser("import", help="Record awards that were made elsewhere.")
    sources = importing.add_subparsers(required=True, metavar="source")
    edubadges = sources.add_parser(
        "edubadges", help=import_edubadges.SUMMARY, description=import_edubadges.DESCRIPTION
    )
    import_edubadges.add_arguments(edubadges)
    edubadges.set_defaults(run=import_edubadges.run)


def _add_token(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    token = commands.add_parser("token", help="Create, list and revoke tokens.")
    actions = token.add_subparsers(required=True, metavar="action")
    create = actions.add_parser("create", help="Create a token; it is printed alone on the last line.")
    create.add_argument("--role", required=True, choices=tokens.ROLES)
    create.add_argument("--institution", metavar="BRIN", help="for the role institution")
    create.add_argument("--learner", type=lower_uuid, metavar="ID", help="for the role learner")
    create.add_argument(
        "--expires-in",
        type=_lifetime,
        default=_lifetime("30d"),
        metavar="TIME",
        help="default: 30d; a number with d, h, m or s",
    )
    create.add_argument(
        "--name", type=_name, metavar="TEXT", help="to tell tokens apart; kept in the database only"
    )
    create.set_defaults(run=admin.run_token_create)
    actions.add_parser("list", help="List all tokens, without their secrets.").set_defaults(
        run=admin.run_token_list
    )
    revoke = actions.add_parser("revoke", help="Revoke a token permanently.")
    revoke.add_argument(
        "token",
        metavar="TOKEN-ID",
        help="the middle part of the token; - reads it from standard input",
    )
    revoke.set_defaults(run=admin.run_token_revoke)


def _lifetime(text: str) -> dt.timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,4})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError("must be a time such as 30d, 12h, 5m or 10s")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return dt.timedelta(**{unit: int(match[1])})


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError("must be a position, a whole number")
    return int(text)


def _time(text: str) -> dt.datetime:
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a time such as 2026-01-31T12:00:00Z") from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError("needs an offset from UTC: add Z or +01:00")
    return time


def _moment(text: str) -> dt.datetime | int:
    return _position(text) if text.isdigit() else _time(text)
