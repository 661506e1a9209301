"""Reads a file, or a folder of files, of hosted Open Badges 2.0 JSON."""

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
from registry.edubadges.items import AwardItem, Item, RefusedItem, RevokedItem, Unreadable
from registry.edubadges.texts import address, members

MAX_FILE = 16 * 1024 * 1024
_OTHERS = {
    "BadgeClass": "is a badge class, not an assertion; it is used for the assertions that name it",
    "Issuer": "is an issuer, not an assertion; it is used for the badge classes that name it",
    "Profile": "is an issuer, not an assertion; it is used for the badge classes that name it",
}


@dataclass
class Documents:
    """Everything that was read: the items in order, and by address the badge classes and issuers."""

    items: list[Item] = field(default_factory=list)
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)
    issuers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def issuer_of(self, badge_class: dict[str, Any]) -> dict[str, Any]:
        """The issuer of a badge class, completed by the issuer's own document."""
        issuer = badge_class.get("issuer")
        known = self.issuers.get(address(members(issuer).get("id") or issuer) or "", {})
        return merged(members(issuer), known)


def read_documents(path: Path, today: dt.date) -> Documents:
    """Reads the file, or all files of the folder.

    Awards come before revocations, since a revocation may be of one of the awards. Expanded assertions come
    first: the same assertion may be there in plain form too, which says less.
    """
    documents = Documents()
    expanded: list[Item] = []
    plain: list[Item] = []
    revoked: list[Item] = []
    for place, content in _contents(path):
        item = content if isinstance(content, RefusedItem) else _item(documents, place, content, today)
        if isinstance(item, RevokedItem):
            revoked.append(item)
        elif isinstance(item, AwardItem) and isinstance(members(content).get("badge"), dict):
            expanded.append(item)
        else:
            plain.append(item)
    documents.items = [*expanded, *plain, *revoked]
    return documents


def _item(documents: Documents, place: str, content: object, today: dt.date) -> Item:
    _keep(documents, content)
    document = members(content)
    kind = _kind(document)
    if not kind and not {"detail", "error"}.isdisjoint(document):
        return RefusedItem(place, "is an error message, as Edubadges sends for a private assertion")
    if kind != "Assertion":
        return RefusedItem(place, _OTHERS.get(kind, "is not an Open Badges 2.0 assertion"))
    try:
        return read_assertion(place, document, today)
    except Unreadable as error:
        return RefusedItem(place, str(error))


def _kind(document: dict[str, Any]) -> str:
    """The type of a document; of several types, the one that is read here."""
    kinds = document.get("type")
    texts = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)]
    return next((kind for kind in texts if kind == "Assertion" or kind in _OTHERS), "")


def _keep(documents: Documents, content: object) -> None:
    """Keeps the badge classes and issuers in a document, each once."""
    document = members(content)
    match _kind(document):
        case "Assertion":
            badge = members(document.get("badge"))
            # The grade belongs to the assertion, and is private.
            _keep(documents, {k: v for k, v in badge.items() if k not in ("grade_achieved", "gradeAchieved")})
        case "BadgeClass":
            _merge(documents.classes, document)
            _keep(documents, document.get("issuer"))
        case "Issuer" | "Profile":
            _merge(documents.issuers, document)


def _merge(known: dict[str, dict[str, Any]], document: dict[str, Any]) -> None:
    if url := address(document.get("id")):
        known[url] = merged(known.get(url, {}), document)


def _contents(path: Path) -> Iterator[tuple[str, object]]:
    """Place and content of each document; the content of one that cannot be read is a `RefusedItem`."""
    for file in _files(path):
        place = printable(file.relative_to(path) if path.is_dir() else file)
        try:
            content = decoded(read_bytes(file, MAX_FILE))
        except Unreadable as error:
            yield place, RefusedItem(place, str(error))
            continue
        if isinstance(content, list) and content:
            yield from ((f"{place}#{number}", part) for number, part in enumerate(content, 1))
        else:
            yield place, content


def _files(path: Path) -> Iterator[Path]:
    """The file, or all files below the folder by name, without hidden ones.

    A link to a folder is not followed: it counts as a file. A folder that cannot be read ends the import.
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


def read_bytes(file: Path, maximum: int) -> bytes:
    """The bytes of a file, which has at most `maximum`."""
    try:
        if not file.is_file():
            raise Unreadable("is not a file")
        with file.open("rb") as opened:
            raw = opened.read(maximum + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or type(error).__name__})") from None
    if len(raw) > maximum:
        raise Unreadable(f"is larger than {maximum // 1024 // 1024} MiB")
    return raw


def decoded(raw: bytes) -> object:
    """The JSON value; the parser's own message is left out, since it may quote the file."""
    try:
        value: object = msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    except ValueError:  # the base class of msgspec's own error
        raise Unreadable("is not valid JSON") from None
    return value


def printable(place: Path) -> str:
    """A file's name on one line, whatever characters it has."""
    name = str(place)
    return name if is_line(name) else ascii(name)
