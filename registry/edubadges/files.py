"""Reads a file, or a folder of files, of hosted Open Badges 2.0 JSON."""

from __future__ import annotations

import codecs
import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from registry.domain.values import is_line
from registry.edubadges.assertions import read_assertion
from registry.edubadges.items import AwardItem, Item, RefusedItem, RevokedItem, Unreadable
from registry.edubadges.texts import address, members

MAX_FILE = 16 * 1024 * 1024
_OTHERS = {
    "BadgeClass": "is a badge class, not an assertion; it is used for the assertions that name it",
    "Issuer": "is an issuer, not an assertion; it is used for the badge classes that name it",
    "Profile": "is an issuer, not an assertion; it is used for the badge classes that name it",
}


# An object with these members alone only names itself.
_NAMING = frozenset({"@context", "type", "id"})
_OF_THE_ASSERTION = frozenset({"grade_achieved", "gradeAchieved", "user"})


@dataclass
class Documents:
    """Everything that was read: the items in order, and what is stated of badge classes and issuers.

    `statements` are badge classes by the hash of what they say, so that those of many assertions are kept
    once. `classes` has by address the keys of those that are documents of their own, `issuers` the issuers.
    """

    items: list[Item] = field(default_factory=list)
    statements: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: dict[str, set[str]] = field(default_factory=dict)
    issuers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def issuer_of(self, badge_class: dict[str, Any]) -> dict[str, Any]:
        """The issuer as the badge class states it; of one that it only names, what its documents agree on."""
        issuer = badge_class.get("issuer")
        if members(issuer).keys() - _NAMING:
            return members(issuer)
        known = self.issuers.get(address(members(issuer).get("id") or issuer) or "", [])
        names = {name for document in known for name in document}
        values = {name: [issuer[name] for issuer in known if issuer.get(name) is not None] for name in names}
        return {name: all_[0] for name, all_ in values.items() if all_ and all(v == all_[0] for v in all_)}

    def keep(self, badge_class: dict[str, Any]) -> str:
        """Keeps what an assertion or a document states of a badge class, and returns its key."""
        # A grade belongs to the assertion, and is private.
        said = {name: value for name, value in badge_class.items() if name not in _OF_THE_ASSERTION}
        try:
            key = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        except RecursionError:
            raise Unreadable("is nested too deeply") from None
        self.statements.setdefault(key, said)
        return key


def read_documents(path: Path, today: dt.date) -> Documents:
    """Reads the file, or all files of the folder.

    Awards come before revocations, since a revocation may be of one of the awards. Expanded assertions come
    first: the same assertion may be there in plain form too, which says less. Awards are in the order of
    their days, never of the files' names: a module's latest version is then that of the last award.
    """
    documents = Documents()
    awards: list[AwardItem] = []
    refused: list[RefusedItem] = []
    revoked: list[RevokedItem] = []
    for place, content in _contents(path):
        item = content if isinstance(content, RefusedItem) else _item(documents, place, content, today)
        match item:
            case RevokedItem():
                revoked.append(item)
            case RefusedItem():
                refused.append(item)
            case AwardItem():
                awards.append(item)
    awards.sort(key=lambda item: (item.stated is None, item.awarded_on, item.reference, item.stated or ""))
    documents.items = [*_unequivocal(awards), *refused, *revoked]
    return documents


def _unequivocal(awards: list[AwardItem]) -> Iterator[AwardItem | RefusedItem]:
    """The awards; those that the files state in several ways are refused, since no file's name may decide.

    An assertion in plain form states the badge class that its expanded form states.
    """
    stated: dict[str, set[str]] = {}
    for item in awards:
        if item.stated is not None:
            stated.setdefault(item.reference, set()).add(item.stated)
    for item in awards:
        said = stated.get(item.reference, set())
        if len(said) > 1:
            yield RefusedItem(
                item.place, "is there several times with different badge classes; keep the one that is right"
            )
        elif said:
            yield msgspec.structs.replace(item, stated=min(said))
        else:
            yield item


def _item(documents: Documents, place: str, content: object, today: dt.date) -> Item:
    document = members(content)
    kind = _kind(document)
    if not kind and document.get("revoked") is True and address(document.get("id")):
        kind = "Assertion"  # Open Badges 2.0 lets a revoked assertion be its address and `revoked` alone
    if not kind and not {"detail", "error"}.isdisjoint(document):
        return RefusedItem(place, "is an error message, as Edubadges sends for a private assertion")
    try:
        if kind != "Assertion":
            _keep(documents, kind, document)
            return RefusedItem(place, _OTHERS.get(kind, "is not an Open Badges 2.0 assertion"))
        item = read_assertion(place, document, today)
        badge_class = members(document.get("badge"))
        if isinstance(item, AwardItem) and badge_class.keys() - _NAMING:
            item = msgspec.structs.replace(item, stated=documents.keep(badge_class))
    except Unreadable as error:
        return RefusedItem(place, str(error))
    return item


def _kind(document: dict[str, Any]) -> str:
    """The type of a document; of several types, the one that is read here."""
    kinds = document.get("type")
    texts = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)]
    return next((kind for kind in texts if kind == "Assertion" or kind in _OTHERS), "")


def _keep(documents: Documents, kind: str, document: dict[str, Any]) -> None:
    """Keeps a badge class or an issuer that is a document of its own."""
    url = address(document.get("id"))
    if url is None or not kind:
        return
    if kind == "BadgeClass":
        documents.classes.setdefault(url, set()).add(documents.keep(document))
    else:
        documents.issuers.setdefault(url, []).append(document)


def _contents(path: Path) -> Iterator[tuple[str, object]]:
    """Place and content of each document; the content of one that cannot be read is a `RefusedItem`."""
    for file in _files(path):
        place = printable(file.relative_to(path) if path.is_dir() else file)
        try:
            content = _content(file, path)
        except Unreadable as error:
            yield place, RefusedItem(place, str(error))
            continue
        if isinstance(content, list) and content:
            yield from ((f"{place}#{number}", part) for number, part in enumerate(content, 1))
        else:
            yield place, content


def _content(file: Path, path: Path) -> object:
    # `os.path.realpath` bears a link that leads to itself, `Path.resolve` does not.
    if path.is_dir() and not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(path)):
        raise Unreadable("is a link that leads out of the folder; copy the file into it")
    return decoded(read_bytes(file, MAX_FILE))


def _files(path: Path) -> Iterator[Path]:
    """The file, or all files below the folder by name, without hidden ones.

    A link to a folder is not followed: it counts as a file. So does a link to a file outside the folder, and
    `_content` refuses it. A folder that cannot be read ends the import.
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
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Unreadable("is UTF-16; save it as UTF-8")
    if raw[:1_000].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise Unreadable("is a web page or XML, not JSON; fetch the answer with Accept: application/json")
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
