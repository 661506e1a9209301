"""The import from Edubadges: items into commands, page by page, and a line of the report for each.

Each award is recorded whole or not at all, and known when it comes again: an import that was broken off
is completed by running it again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args

import msgspec

from registry.domain import badge as domain
from registry.domain.badge import Badge
from registry.domain.errors import InstitutionNotAdmitted, ModuleNotFound, ModuleOfAnother, Refusal
from registry.domain.events import RevocationReason
from registry.domain.imports import ImportedModule
from registry.domain.institution import Origin
from registry.domain.module import Module
from registry.domain.values import BRIN
from registry.edubadges.badge_classes import read_badge_class
from registry.edubadges.files import Source
from registry.edubadges.items import Award, Refused, Revoked, Unreadable
from registry.edubadges.texts import members
from registry.postgres.connections import UnavailableError
from registry.recording.awards import ImportedAward
from registry.recording.commands import ImportModule, RevokeBadge
from registry.recording.decisions import Known, Settled
from registry.recording.registry import Registry

ORIGIN = Origin("import", "cli")
PAGE = 500
# A revoked answer names no institution: its badge is looked for under every one.
REVOKED_PAGE = 50
_IDENTIFIER = "extensions:InstitutionIdentifierExtension"

T = TypeVar("T")


class Line(NamedTuple):
    """A line of the report. The reason holds no personal data."""

    place: str
    outcome: Literal["imported", "known", "refused"]
    reason: str = ""


class _Place(NamedTuple):
    """Where an award belongs: its module here, and as the source states it."""

    brin: str
    module_id: str
    source: ImportedModule | None


def import_hosted(
    registry: Registry, source: Source, institution: str | None, *, all_types: bool
) -> Iterator[Line]:
    """Records hosted assertions; `institution` is for those whose source names no admitted one."""
    hosted = _Hosted(registry, source, institution, all_types=all_types)
    for page in _pages((item for item in source.items if not isinstance(item, Revoked)), PAGE):
        yield from _settle(registry, page, hosted.command)
    for revoked in _pages((item for item in source.items if isinstance(item, Revoked)), REVOKED_PAGE):
        yield from hosted.revoke(revoked)


def import_bulk(
    registry: Registry, items: Iterable[Award | Refused], module_id: str, institution: str | None
) -> Iterator[Line]:
    """Records the rows of a bulk CSV as awards of a module that is registered."""
    module = _module(registry, module_id)
    if module is None:
        raise ModuleNotFound
    if institution not in (None, module.institution):
        raise ModuleOfAnother
    known = _Place(module.institution, module_id, None)
    for page in _pages(items, PAGE):
        yield from _settle(registry, page, lambda award: _command(award, known))


class _Hosted:
    """Hosted assertions on their way: each badge class is read and registered once."""

    def __init__(
        self, registry: Registry, source: Source, institution: str | None, *, all_types: bool
    ) -> None:
        self._registry, self._source, self._named, self._all_types = registry, source, institution, all_types
        if institution is not None and not self._admitted(institution):
            raise InstitutionNotAdmitted(institution)
        self._institutions = registry.institutions()
        self._settled: dict[str, _Place | Unreadable | Refusal] = {}

    def command(self, award: Award) -> ImportedAward:
        badge = award.badge or ""
        if badge not in self._settled:
            try:
                self._settled[badge] = self._known(badge)
            except (Unreadable, Refusal) as error:
                self._settled[badge] = error
        known = self._settled[badge]
        if isinstance(known, Exception):
            raise known
        return _command(award, known)

    def revoke(self, page: Sequence[Revoked]) -> Iterator[Line]:
        """Touches known badges only: a revoked answer holds no badge and no day."""
        made = self._registry.badge_id
        ids = [[made(brin, revoked.reference) for brin in self._institutions] for revoked in page]
        known = self._registry.known(badge_id for each in ids for badge_id in each)
        chosen = [
            self._chosen([badge for badge in map(known.badge, each) if badge is not None]) for each in ids
        ]
        commands = [
            _revocation(revoked, state)
            for revoked, state in zip(page, chosen, strict=True)
            if isinstance(state, Badge)
        ]
        settled = iter(self._registry.settle(commands) if commands else ())
        for revoked, state in zip(page, chosen, strict=True):
            if isinstance(state, str):
                yield Line(revoked.place, "refused", state)
            else:
                yield _line(revoked.place, next(settled), "revoked, as observed")

    def _chosen(self, states: list[Badge]) -> Badge | str:
        if len(states) > 1:
            states = [state for state in states if state.award.institution == self._named]
            if not states:
                return "is revoked, and known at several institutions; name one by --institution"
        return states[0] if states else "is revoked, and not known here: there is nothing to revoke"

    def _known(self, badge: str) -> _Place:
        stated = self._source.classes.get(badge)
        if stated is None:
            return self._registered(badge)
        brin, findings = self._standing(badge, stated)
        source = read_badge_class(badge, {**stated, "issuer": self._source.issuer_of(stated)})
        source = msgspec.structs.replace(source, findings=(*source.findings, *findings))
        module_id = self._registry.keys.made_id("module", brin, badge)
        self._check_type(source, _module(self._registry, module_id))
        self._registry.record(ImportModule(brin, module_id, source, ORIGIN))
        return _Place(brin, module_id, source)

    def _registered(self, badge: str) -> _Place:
        """Of a badge class that is not among the files: a module that is here already."""
        places = self._places(badge)
        if not places:
            raise Unreadable(
                "its badge class is not among the files; fetch it, or the assertion with expand=badge"
            )
        brin = self._named if self._named in places else places[0]
        module_id = self._registry.keys.made_id("module", brin, badge)
        self._check_type(None, _module(self._registry, module_id))
        return _Place(brin, module_id, None)

    def _standing(self, badge: str, stated: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        """The institution of a badge class. Where it was imported before, that stands, whoever is admitted
        or named today: else the same awards would be recorded twice."""
        places = self._places(badge)
        try:
            brin, findings = self._institution(stated)
        except Unreadable:
            if not places:
                raise
            return places[0], ()
        if places and brin not in places:
            return places[0], ()
        return brin, findings

    def _places(self, badge: str) -> list[str]:
        """The institutions under which a badge class is a module already."""
        made = self._registry.keys.made_id
        ids = {made("module", brin, badge): brin for brin in self._institutions}
        known = self._registry.known(ids)
        return sorted(brin for module_id, brin in ids.items() if known.module(module_id) is not None)

    def _institution(self, badge_class: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        issuer = self._source.issuer_of(badge_class)
        stated = members(issuer.get(_IDENTIFIER)).get("InstitutionIdentifier")
        if isinstance(stated, str) and BRIN.fullmatch(stated) and self._admitted(stated):
            return stated, ()
        if self._named is None:
            raise Unreadable("its source names no BRIN of an admitted institution; give --institution")
        return self._named, ("institution-named",)

    def _admitted(self, brin: str) -> bool:
        return self._registry.known([brin]).institution(brin) is not None

    def _check_type(self, source: ImportedModule | None, module: Module | None) -> None:
        badge_type = (source and source.badge_type) or (module and module.badge_type)
        if badge_type is not None and not self._all_types:
            raise Unreadable(f"is a {badge_type} badge, no microcredential; --all-types takes it, marked")


def _module(registry: Registry, module_id: str) -> Module | None:
    return registry.known([module_id]).module(module_id)


def _command(award: Award, known: _Place) -> ImportedAward:
    return ImportedAward(
        brin=known.brin,
        reference=award.reference,
        module_id=known.module_id,
        module_reference=None,
        recipient=award.recipient,
        terms=domain.AwardTerms(None, award.awarded_on, award.valid_until),
        origin=ORIGIN,
        grade=award.grade,
        evidence=award.evidence,
        source=known.source,
        findings=award.findings,
        hosted=award.badge is not None,
    )


def _revocation(revoked: Revoked, state: Badge) -> RevokeBadge:
    """Edubadges has a reason in words: one of ours where it is the same word, else it is kept as a note."""
    word = revoked.reason.lower().replace(" ", "-")
    ours = word in get_args(RevocationReason)
    return RevokeBadge(
        state.award.institution,
        state.id,
        cast(RevocationReason, word) if ours else "other",
        effective_on=None,
        note=None if ours else revoked.reason or None,
        origin=ORIGIN,
        observed=True,
    )


def _settle(
    registry: Registry, page: Sequence[Award | Refused], command: Callable[[Award], ImportedAward]
) -> Iterator[Line]:
    """Records the awards of a page; then the lines of all its items, in order."""
    made: list[ImportedAward | Line] = []
    for item in page:
        if isinstance(item, Refused):
            made.append(Line(item.place, "refused", item.reason))
            continue
        try:
            made.append(command(item))
        except (Unreadable, Refusal) as error:
            made.append(Line(item.place, "refused", str(error)))
    commands = [each for each in made if isinstance(each, ImportedAward)]
    settled = registry.settle(registry.preparation().prepare_all(commands)) if commands else []
    recorded = registry.known(each.id for each in settled if not isinstance(each, Exception))
    answers = iter(settled)
    for item, each in zip(page, made, strict=True):
        yield each if isinstance(each, Line) else _line(item.place, next(answers), recorded)


def _line(place: str, settled: Settled, said: Known | str) -> Line:
    if isinstance(settled, UnavailableError):
        raise settled
    if isinstance(settled, Refusal):
        return Line(place, "refused", str(settled))
    if isinstance(settled, Exception):
        # Its text may hold what it was about.
        return Line(place, "refused", f"could not be recorded ({type(settled).__name__})")
    reason = said if isinstance(said, str) else _noted(said.badge(settled.id))
    return Line(place, "imported" if settled.created else "known", reason)


def _noted(state: Badge | None) -> str:
    """What the event says of it: its type where it is no microcredential, and the findings."""
    if state is None:
        return ""
    award = state.award
    parts = [award.badge_type] if award.badge_type else []
    return "; ".join([*parts, ", ".join(award.findings)] if award.findings else parts)


def _pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while page := list(itertools.islice(iterator, size)):
        yield page
