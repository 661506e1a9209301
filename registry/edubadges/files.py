"""Reads a file, or a folder of files, of hosted Open Badges 2.0 JSON."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from registry.domain import values
from registry.edubadges.assertions import read_assertion
from registry.edubadges.badge_classes import read_badge_class
from registry.edubadges.items import AwardItem, Item, RefusedItem, RevokedItem, StatedClass, Unreadable
from registry.edubadges.members import NAMES
from registry.edubadges.texts import address, is_stated, members

MAX_FILE = 16 * 1024 * 1024
_OTHERS = {
    "BadgeClass": "is a badge class, not an assertion; it is used for the assertions that name it",
    "Issuer": "is an issuer, not an assertion; it is used for the badge classes that name it",
    "Profile": "is an issuer, not an assertion; it is used for the badge classes that name it",
}


# An object with these members alone only names itself.
_NAMING = frozenset({"@context", "type", "id"})
_OF_THE_ASSERTION = frozenset({"grade_achieved", "gradeAchieved", "user"})
_IDENTIFIER = "extensions:InstitutionIdentifierExtension"


class _Documents:
    """Everything that was read: the assertions, and what is stated of badge classes and issuers.

    `_statements` are badge classes by the hash of what they say, so that those of many assertions are kept
    once. `_classes` has by address the keys of those that are documents of their own, `_issuers` the issuers.
    """

    def __init__(self) -> None:
        self._awards: dict[str, list[tuple[AwardItem, str | None]]] = {}
        self._statements: dict[str, dict[str, Any]] = {}
        self._classes: dict[str, set[str]] = {}
        self._issuers: dict[str, list[dict[str, Any]]] = {}
        self._read: dict[tuple[str, str], StatedClass | str] = {}

    def add_award(self, item: AwardItem, badge: object) -> None:
        """Adds an assertion, with what it says itself of its badge class, if it does."""
        badge_class = members(badge)
        key = self._keep(badge_class) if badge_class.keys() - _NAMING else None
        self._awards.setdefault(item.reference, []).append((item, key))

    def add_other(self, kind: str, document: dict[str, Any]) -> None:
        """Adds a badge class or an issuer that is a document of its own."""
        url = address(document.get("id"))
        if url is None or not kind:
            return
        if kind == "BadgeClass":
            self._classes.setdefault(url, set()).add(self._keep(document))
        else:
            self._issuers.setdefault(url, []).append(document)

    def awards(self) -> Iterator[AwardItem | RefusedItem]:
        """The assertions in the order of their days, each with what its answer states of its badge class.

        Neither the registry nor a file's name decides what that is: it is in the assertion itself, or in the
        expanded form of the assertion, or in the one document of its badge class.
        """
        for _, items in sorted(
            self._awards.items(), key=lambda pair: (min(item.awarded_on for item, _ in pair[1]), pair[0])
        ):
            expanded = [
                msgspec.structs.replace(item, stated=self._stated(item.badge or "", key))
                for item, key in items
                if key is not None
            ]
            plain = [item for item, key in items if key is None]
            whole = expanded or [
                msgspec.structs.replace(
                    item,
                    stated=self._beside(item.badge or ""),
                    findings=(*item.findings, "module-not-stated"),
                )
                for item in plain
            ]
            if len({msgspec.structs.replace(item, place="") for item in whole}) > 1:
                for item, _ in items:
                    yield RefusedItem(
                        item.place,
                        "is there several times with different content; keep the one that is right",
                    )
                continue
            yield from whole
            for item in plain if expanded else ():
                (one, *_) = expanded
                yield msgspec.structs.replace(
                    one,
                    place=item.place,
                    recipient=item.recipient,
                    awarded_on=item.awarded_on,
                    valid_until=item.valid_until,
                )

    def _keep(self, badge_class: dict[str, Any]) -> str:
        """Keeps what an assertion or a document states of a badge class, and returns its key."""
        # A grade belongs to the assertion, and is private.
        said = {name: value for name, value in badge_class.items() if name not in _OF_THE_ASSERTION}
        try:
            key = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        except RecursionError:
            raise Unreadable("is nested too deeply") from None
        self._statements.setdefault(key, said)
        return key

    def _stated(self, url: str, key: str) -> StatedClass | str:
        """What a statement says of the badge class, or why it cannot be read."""
        if (url, key) not in self._read:
            try:
                self._read[url, key] = self._stated_class(url, self._statements[key])
            except Unreadable as error:
                self._read[url, key] = str(error)
            except RecursionError:
                self._read[url, key] = "is nested too deeply"
        return self._read[url, key]

    def _stated_class(self, url: str, document: dict[str, Any]) -> StatedClass:
        issuer = self._issuer_of(document)
        module = read_badge_class(url, {**document, "issuer": issuer})
        identifier = members(issuer.get(_IDENTIFIER)).get("InstitutionIdentifier")
        return StatedClass(module, identifier if isinstance(identifier, str) else None)

    def _beside(self, url: str) -> StatedClass | str:
        """What the documents of a badge class say, where they all say the same; or why that is not known."""
        found = {self._stated(url, key) for key in self._classes.get(url, ())}
        if len(found) == 1:
            return found.pop()
        if found:
            return (
                "its badge class is among the files in several states; fetch the assertion with expand=badge"
            )
        return "its badge class is not among the files; fetch it, or the assertion with expand=badge"

    def _issuer_of(self, badge_class: dict[str, Any]) -> dict[str, Any]:
        """The issuer as the badge class states it; of one that it only names, what its documents say."""
        issuer = badge_class.get("issuer")
        if members(issuer).keys() - _NAMING:
            return members(issuer)
        url = address(members(issuer).get("id") or issuer)
        if url is None and is_stated(issuer):
            raise Unreadable("its issuer must be an object, or a web address")
        merged: dict[str, Any] = {}
        for document in self._issuers.get(url or "", ()):
            for name, value in document.items():
                if (
                    is_stated(value)
                    and merged.setdefault(name, value) != value
                    and name in ("faculty", _IDENTIFIER)
                ):
                    raise Unreadable(
                        "its issuer is among the files in several states;"
                        " fetch the assertion with expand=badge.issuer"
                    )
        return merged


def read_documents(path: Path, today: dt.date) -> list[Item]:
    """Reads the file, or all files of the folder.

    Awards come before revocations, since a revocation may be of one of the awards. Both are in an order that
    follows from what they say: no file's name decides which is recorded first.
    """
    documents = _Documents()
    refused: list[RefusedItem] = []
    revoked: list[RevokedItem] = []
    for place, content in _contents(path):
        item = content if isinstance(content, RefusedItem) else _item(documents, place, content, today)
        match item:
            case RevokedItem():
                revoked.append(item)
            case RefusedItem():
                refused.append(item)
    revoked.sort(key=lambda item: (item.reference, not item.reason, item.reason))
    return [*documents.awards(), *refused, *revoked]


def _item(
    documents: _Documents, place: str, content: object, today: dt.date
) -> RefusedItem | RevokedItem | None:
    """The item of a document; None where it is an award, which the documents keep."""
    try:
        document = members(content)
        kind = _kind(document)
        if not kind and document.get("revoked") is True and address(document.get("id")):
            kind = "Assertion"  # Open Badges 2.0 lets a revoked assertion be its address and `revoked` alone
        if not kind and not {"detail", "error"}.isdisjoint(document):
            return RefusedItem(place, "is an error message, as Edubadges sends for a private assertion")
        if kind != "Assertion":
            documents.add_other(kind, document)
            return RefusedItem(place, _OTHERS.get(kind, "is not an Open Badges 2.0 assertion"))
        item = read_assertion(place, document, today)
        if isinstance(item, AwardItem):
            documents.add_award(item, document.get("badge"))
            return None
    except Unreadable as error:
        return RefusedItem(place, str(error))
    return item


def _kind(document: dict[str, Any]) -> str:
    """The type of a document; of several types, the one that is read here."""
    kinds = document.get("type")
    texts = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)]
    return next((kind for kind in texts if kind == "Assertion" or kind in _OTHERS), "")


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
    text = decoded_text(raw)
    if text[:1_000].lstrip().startswith("<"):
        raise Unreadable("is a web page or XML, not JSON; fetch the answer with Accept: application/json")
    try:
        value: object = msgspec.json.decode(text)
        _check_members.decode(text)
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    except ValueError as error:  # the base class of msgspec's own error
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("is not valid JSON") from None
    return value


def _once(pairs: list[tuple[str, object]]) -> None:
    """Refuses an object that states a member twice: one reader takes the first, another the last."""
    stated: set[str] = set()
    for name, _ in pairs:
        if name in stated:
            raise Unreadable(
                f"states {name if name in NAMES else 'a member'} twice; keep the one that is right"
            )
        stated.add(name)


# msgspec takes the last of several members without a word. Numbers are left as texts here.
_check_members = json.JSONDecoder(object_pairs_hook=_once, parse_int=str, parse_float=str)


def decoded_text(raw: bytes) -> str:
    try:
        return values.utf8(raw)
    except ValueError as error:
        raise Unreadable(f"{error}; save it as UTF-8") from None


def printable(place: Path) -> str:
    """A file's name on one line, whatever characters it has."""
    name = str(place)
    return name if values.is_line(name) else ascii(name)
