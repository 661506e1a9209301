"""A file, or a folder of files, of hosted Open Badges 2.0 JSON."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from registry.domain.values import is_line
from registry.edubadges.assertions import read_assertion
from registry.edubadges.badge_classes import merged
from registry.edubadges.items import Award, Item, Refused, Revoked, Unreadable
from registry.edubadges.texts import address, members

LARGEST_FILE = 16 * 1024 * 1024
_OTHERS = {
    "BadgeClass": "is a badge class, no assertion; it serves the assertions that name it",
    "Issuer": "is an issuer, no assertion; it serves the badge classes that name it",
    "Profile": "is an issuer, no assertion; it serves the badge classes that name it",
}


@dataclass
class Source:
    """All that was found: the items in their order, and by address the badge classes and issuers."""

    items: list[Item] = field(default_factory=list)
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)
    issuers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def issuer_of(self, badge_class: dict[str, Any]) -> dict[str, Any]:
        """The issuer of a badge class, with what stands beside it."""
        issuer = badge_class.get("issuer")
        known = self.issuers.get(address(members(issuer).get("id") or issuer) or "", {})
        return merged(members(issuer), known)


def read_source(path: Path, today: dt.date) -> Source:
    """Reads the file, or all files of the folder. Awards come before revocations: one may be of the other.

    Of an assertion that is there plain and expanded, the expanded one comes first: it says more.
    """
    source = Source()
    expanded: list[Item] = []
    plain: list[Item] = []
    revoked: list[Item] = []
    for place, stated in _documents(path):
        item = stated if isinstance(stated, Refused) else _item(source, place, stated, today)
        if isinstance(item, Revoked):
            revoked.append(item)
        elif isinstance(item, Award) and isinstance(members(stated).get("badge"), dict):
            expanded.append(item)
        else:
            plain.append(item)
    source.items = [*expanded, *plain, *revoked]
    return source


def _item(source: Source, place: str, stated: object, today: dt.date) -> Item:
    _remember(source, stated)
    document = members(stated)
    kind = _kind(document)
    if not kind and not {"detail", "error"}.isdisjoint(document):
        return Refused(place, "is an error, as Edubadges answers for a private assertion, and no assertion")
    if kind != "Assertion":
        return Refused(place, _OTHERS.get(kind, "is no assertion of Open Badges 2.0"))
    try:
        return read_assertion(place, document, today)
    except Unreadable as error:
        return Refused(place, str(error))


def _kind(document: dict[str, Any]) -> str:
    """Its type; where it has several, the one that is read here."""
    kinds = document.get("type")
    named = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)]
    return next((kind for kind in named if kind == "Assertion" or kind in _OTHERS), "")


def _remember(source: Source, stated: object) -> None:
    """Keeps the badge classes and issuers in a document, each once."""
    document = members(stated)
    match _kind(document):
        case "Assertion":
            badge = members(document.get("badge"))
            # The grade is the assertion's, and private.
            _remember(
                source, {k: v for k, v in badge.items() if k not in ("grade_achieved", "gradeAchieved")}
            )
        case "BadgeClass":
            _keep(source.classes, document)
            _remember(source, document.get("issuer"))
        case "Issuer" | "Profile":
            _keep(source.issuers, document)


def _keep(known: dict[str, dict[str, Any]], document: dict[str, Any]) -> None:
    if found := address(document.get("id")):
        known[found] = merged(known.get(found, {}), document)


def _documents(path: Path) -> Iterator[tuple[str, object]]:
    """Place and content of each document; one that cannot be read is a `Refused`."""
    for file in _files(path):
        place = shown(file.relative_to(path) if path.is_dir() else file)
        try:
            stated = _read(file)
        except Unreadable as error:
            yield place, Refused(place, str(error))
            continue
        if isinstance(stated, list) and stated:
            yield from ((f"{place}#{number}", each) for number, each in enumerate(stated, 1))
        else:
            yield place, stated


def _files(path: Path) -> Iterator[Path]:
    """The file, or all files below the folder by name, but not those that are hidden.

    A link to a folder is not followed, and stands for itself; a folder that may not be read ends it all.
    """
    if not path.is_dir():
        yield path
        return

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(path, onerror=fail):
        folders.sort()
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in sorted(names + linked) if not name.startswith("."))


def _read(file: Path) -> object:
    return decoded(content(file, LARGEST_FILE))


def content(file: Path, most: int) -> bytes:
    """The bytes of a file of bounded size."""
    try:
        if not file.is_file():
            raise Unreadable("is no file")
        with file.open("rb") as opened:
            found = opened.read(most + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or type(error).__name__})") from None
    if len(found) > most:
        raise Unreadable(f"is larger than {most // 1024 // 1024} MiB")
    return found


def decoded(raw: bytes) -> object:
    """JSON; the parser's own words are left out, since they may hold what the file does."""
    try:
        found: object = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    except ValueError:  # msgspec's own is one
        raise Unreadable("is no JSON") from None
    return found


def shown(place: Path) -> str:
    """A file's name on one line, whatever is in it."""
    name = str(place)
    return name if is_line(name) else ascii(name)
