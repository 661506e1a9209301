"""The command `registry import edubadges`: its arguments and its report."""

from __future__ import annotations

import argparse
import datetime as dt
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from registry.cli import database
from registry.cli.common import UsageError, checked_keys
from registry.domain.values import BRIN, UUID, calendar_day, day_in_amsterdam, lower_uuid
from registry.edubadges.bulk import read_bulk
from registry.edubadges.files import read_documents
from registry.edubadges.importer import ReportLine, import_bulk, import_hosted
from registry.recording.registry import Registry, utc_now
from registry.settings import Settings

SUMMARY = "Record awards that were made in Edubadges."
DESCRIPTION = (
    f"{SUMMARY} PATH is a file or folder of hosted Open Badges 2.0 JSON, or with --csv a bulk CSV of"
    " Edubadges. Prints one line per item (file, outcome, reason), then the totals. The exit status is 1"
    " if any item was refused, otherwise 0. Running it again records nothing twice."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH")
    parser.add_argument(
        "--institution", metavar="BRIN", help="the institution of badges whose issuer names none by BRIN"
    )
    parser.add_argument(
        "--all-types",
        action="store_true",
        help="also import regular and extra-curricular badges, marked as such",
    )
    parser.add_argument("--csv", action="store_true", help="PATH is a bulk CSV, by eppn or by e-mail address")
    parser.add_argument(
        "--module", type=lower_uuid, metavar="ID", help="with --csv: the id of the awarded module"
    )
    parser.add_argument("--awarded-on", type=_day, metavar="DATE", help="with --csv: the day of the awards")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        _check(arguments, day_in_amsterdam(utc_now()))
    except ValueError as error:
        raise UsageError(str(error)) from None
    with database.started(settings, "registry_serve") as url:
        registry = Registry(url, checked_keys(url, settings), utc_now)
        try:
            return _record(registry, arguments)
        finally:
            registry.close()


def _check(arguments: argparse.Namespace, today: dt.date) -> None:
    """Refuses arguments that do not fit together."""
    if arguments.institution is not None and not BRIN.fullmatch(arguments.institution):
        raise ValueError("--institution must be a BRIN: two digits, then two capital letters or digits")
    if not arguments.csv and (arguments.module is not None or arguments.awarded_on is not None):
        raise ValueError("--module and --awarded-on need --csv")
    if arguments.csv:
        if arguments.module is None or arguments.awarded_on is None:
            raise ValueError("--csv needs --module and --awarded-on")
        if arguments.all_types:
            raise ValueError("--all-types cannot be used with --csv")
        if not UUID.fullmatch(arguments.module):
            raise ValueError("--module must be a module's id, which is a UUID")
        if arguments.awarded_on > today:
            raise ValueError("--awarded-on must not be in the future")
        if not arguments.path.is_file():
            raise ValueError("with --csv, PATH must be a file")
    if not arguments.path.exists():
        raise ValueError("PATH must be a file or a folder")


def _record(registry: Registry, arguments: argparse.Namespace) -> int:
    lines: Iterable[ReportLine]
    if arguments.csv:
        rows = read_bulk(arguments.path, arguments.module, arguments.awarded_on)
        lines = import_bulk(registry, rows, arguments.module, arguments.institution)
    else:
        items = read_documents(arguments.path, registry.today())
        lines = import_hosted(registry, items, arguments.institution, all_types=arguments.all_types)
    counts: Counter[str] = Counter()
    for line in lines:
        print("\t".join(line).rstrip(), flush=True)
        counts[line.outcome] += 1
    print(f"imported {counts['imported']}, known {counts['known']}, refused {counts['refused']}")
    return 1 if counts["refused"] else 0


def _day(text: str) -> dt.date:
    try:
        return calendar_day(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
