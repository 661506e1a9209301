"""The import itself: items become commands, page by page, and each item has a line in the report.

Each award is recorded whole or not at all, and is known when it comes again: an interrupted import is
resumed by running it again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args

import msgspec

from registry.domain import imports
from registry.domain.badge import AwardTerms, Badge
from registry.domain.errors import InstitutionNotAdmitted, ModuleNotFound, ModuleOfAnother, Refusal
from registry.domain.events import RevocationReason
from registry.domain.imports import ImportedModule
from registry.domain.institution import Origin
from registry.domain.module import Module
from registry.domain.values import BRIN
from registry.edubadges.badge_classes import read_badge_class
from registry.edubadges.files import Documents
from registry.edubadges.items import AwardItem, RefusedItem, RevokedItem, Unreadable
from registry.edubadges.texts import members
from registry.postgres.connections import UnavailableError
from registry.recording.awards import ImportedAward
from registry.recording.commands import ImportModule, RevokeBadge
from registry.recording.decisions import Known, Settled
from registry.recording.registry import Registry

ORIGIN = Origin("import", "cli")
PAGE = 500
PAGE_SECONDS = 300.0
"""How long an import waits for a page."""
# A revoked assertion names no institution, so its badge is looked up under every one.
REVOKED_PAGE = 50
INSTITUTION_NAMED = "institution-named"
_IDENTIFIER = "extensions:InstitutionIdentifierExtension"

T = TypeVar("T")


class ReportLine(NamedTuple):
    """A line of the report; the reason holds no personal data."""

    place: str
    outcome: Literal["imported", "known", "refused"]
    reason: str = ""


class _Target(NamedTuple):
    """The module that an award belongs to, as it is registered, and as the source describes it."""

    brin: str
    module_id: str
    source: ImportedModule | None
    findings: tuple[str, ...] = ()


def import_hosted(
    registry: Registry, documents: Documents, institution: str | None, *, all_types: bool
) -> Iterator[ReportLine]:
    """Records hosted assertions; `institution` is for those whose issuer names no admitted one."""
    hosted = _Hosted(registry, documents, institution, all_types=all_types)
    items = documents.items
    for page in _pages((item for item in items if not isinstance(item, RevokedItem)), PAGE):
        yield from _settle(registry, page, hosted.command)
    for revoked in _pages((item for item in items if isinstance(item, RevokedItem)), REVOKED_PAGE):
        yield from hosted.revoke(revoked)


def import_bulk(
    registry: Registry, items: Iterable[AwardItem | RefusedItem], module_id: str, institution: str | None
) -> Iterator[ReportLine]:
    """Records the rows of a bulk CSV as awards of a registered module."""
    module = _module(registry, module_id)
    if module is None:
        raise ModuleNotFound
    if institution not in (None, module.institution):
        raise ModuleOfAnother
    target = _Target(module.institution, module_id, None)
    for page in _pages(items, PAGE):
        yield from _settle(registry, page, lambda award: _command(award, target))


class _Hosted:
    """Makes the commands for hosted assertions: what is stated of a badge class is registered once."""

    def __init__(
        self, registry: Registry, documents: Documents, institution: str | None, *, all_types: bool
    ) -> None:
        self._registry, self._documents = registry, documents
        self._named, self._all_types = institution, all_types
        if institution is not None and not self._admitted(institution):
            raise InstitutionNotAdmitted(institution)
        self._institutions = registry.institutions()
        self._targets: dict[tuple[str, str | None], _Target | Unreadable | Refusal] = {}

    def command(self, award: AwardItem) -> ImportedAward:
        badge_class = award.badge or ""
        key = (badge_class, award.stated)
        if key not in self._targets:
            try:
                self._targets[key] = self._target(badge_class, award.stated)
            except (Unreadable, Refusal) as error:
                self._targets[key] = error
        target = self._targets[key]
        if isinstance(target, Exception):
            raise target
        return _command(award, target)

    def revoke(self, page: Sequence[RevokedItem]) -> Iterator[ReportLine]:
        """Revokes known badges only: a revoked assertion holds neither a badge class nor a day."""
        badge_id = self._registry.badge_id
        candidates = [[badge_id(brin, revoked.reference) for brin in self._institutions] for revoked in page]
        known = self._registry.known(itertools.chain.from_iterable(candidates))
        chosen = [
            self._chosen([badge for badge in map(known.badge, ids) if badge is not None])
            for ids in candidates
        ]
        commands = [
            _revocation(revoked, state)
            for revoked, state in zip(page, chosen, strict=True)
            if isinstance(state, Badge)
        ]
        settled = iter(self._registry.settle(commands, PAGE_SECONDS) if commands else ())
        for revoked, state in zip(page, chosen, strict=True):
            if isinstance(state, str):
                yield ReportLine(revoked.place, "refused", state)
            else:
                yield _line(revoked.place, next(settled), "revoked, as observed")

    def _chosen(self, states: list[Badge]) -> Badge | str:
        if len(states) > 1:
            states = [state for state in states if state.award.institution == self._named]
            if not states:
                return "is revoked, but known at several institutions; choose one with --institution"
        return states[0] if states else "is revoked, but unknown here: there is nothing to revoke"

    def _target(self, badge_class: str, stated: str | None) -> _Target:
        """The module of a badge class, with what is stated of it; registers that where needed.

        An assertion that only names its badge class states what the badge class's own document states, if
        there is one such statement among the files.
        """
        if stated is None:
            beside = self._documents.classes.get(badge_class, set())
            if len(beside) != 1:
                return self._registered(badge_class, several=bool(beside))
            (stated,) = beside
        document = self._documents.statements[stated]
        brin, findings = self._institution(badge_class, document)
        source = read_badge_class(badge_class, {**document, "issuer": self._documents.issuer_of(document)})
        source = msgspec.structs.replace(source, findings=(*source.findings, *findings))
        module_id = self._registry.keys.made_id("module", brin, badge_class)
        self._check_type(source, _module(self._registry, module_id))
        self._registry.record(ImportModule(brin, module_id, source, ORIGIN))
        return _Target(brin, module_id, source)

    def _registered(self, badge_class: str, *, several: bool) -> _Target:
        """The registered module of a badge class that is not among the files, or in `several` states."""
        institutions = self._institutions_of(badge_class)
        if not institutions and several:
            raise Unreadable(
                "its badge class is among the files in several states; fetch the assertion with expand=badge"
            )
        if not institutions:
            raise Unreadable(
                "its badge class is not among the files; fetch it, or the assertion with expand=badge"
            )
        brin = self._named if self._named in institutions else institutions[0]
        module_id = self._registry.keys.made_id("module", brin, badge_class)
        self._check_type(None, _module(self._registry, module_id))
        return _Target(brin, module_id, None, ("module-not-stated",))

    def _institution(self, badge_class: str, document: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        """The institution of a badge class, and the findings about it.

        The institution of an earlier import stays, whatever institution is admitted or named today:
        otherwise the same awards would be recorded twice.
        """
        earlier = self._institutions_of(badge_class)
        try:
            brin, findings = self._stated_institution(document)
        except Unreadable:
            if not earlier:
                raise
            return earlier[0], self._named_earlier(badge_class, earlier[0])
        if earlier and brin not in earlier:
            return earlier[0], self._named_earlier(badge_class, earlier[0]) or ("institution-differs",)
        return brin, findings

    def _named_earlier(self, badge_class: str, brin: str) -> tuple[str, ...]:
        module = _module(self._registry, self._registry.keys.made_id("module", brin, badge_class))
        named = module is not None and any(INSTITUTION_NAMED in findings for findings in module.findings)
        return (INSTITUTION_NAMED,) if named else ()

    def _institutions_of(self, badge_class: str) -> list[str]:
        """The institutions under which a badge class is registered as a module already."""
        module_id = self._registry.keys.made_id
        ids = {module_id("module", brin, badge_class): brin for brin in self._institutions}
        known = self._registry.known(ids)
        return sorted(brin for module_id, brin in ids.items() if known.module(module_id) is not None)

    def _stated_institution(self, document: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        issuer = self._documents.issuer_of(document)
        brin = members(issuer.get(_IDENTIFIER)).get("InstitutionIdentifier")
        if isinstance(brin, str) and BRIN.fullmatch(brin) and self._admitted(brin):
            return brin, ()
        if self._named is None:
            raise Unreadable("its issuer names no admitted institution by BRIN; give --institution")
        return self._named, (INSTITUTION_NAMED,)

    def _admitted(self, brin: str) -> bool:
        return self._registry.known([brin]).institution(brin) is not None

    def _check_type(self, source: ImportedModule | None, module: Module | None) -> None:
        badge_type = imports.badge_type(module, source)
        if badge_type is not None and not self._all_types:
            raise Unreadable(
                f"is a {badge_type} badge, not a microcredential; --all-types imports it, marked as such"
            )


def _module(registry: Registry, module_id: str) -> Module | None:
    return registry.known([module_id]).module(module_id)


def _command(award: AwardItem, target: _Target) -> ImportedAward:
    return ImportedAward(
        brin=target.brin,
        reference=award.reference,
        module_id=target.module_id,
        module_reference=None,
        recipient=award.recipient,
        terms=AwardTerms(None, award.awarded_on, award.valid_until),
        origin=ORIGIN,
        grade=award.grade,
        evidence=award.evidence,
        source=target.source,
        findings=(*target.findings, *award.findings),
        hosted=award.badge is not None,
    )


def _revocation(revoked: RevokedItem, state: Badge) -> RevokeBadge:
    """Edubadges gives the reason in words: they become the note, unless they are a reason of the registry."""
    word = revoked.reason.lower().replace(" ", "-")
    is_reason = word in get_args(RevocationReason)
    return RevokeBadge(
        state.award.institution,
        state.id,
        cast(RevocationReason, word) if is_reason else "other",
        effective_on=None,
        note=None if is_reason else revoked.reason or None,
        origin=ORIGIN,
        observed=True,
    )


def _settle(
    registry: Registry,
    page: Sequence[AwardItem | RefusedItem],
    command: Callable[[AwardItem], ImportedAward],
) -> Iterator[ReportLine]:
    """Records the awards of a page, then returns the lines of all its items, in order."""
    steps: list[ImportedAward | ReportLine] = []
    for item in page:
        if isinstance(item, RefusedItem):
            steps.append(ReportLine(item.place, "refused", item.reason))
            continue
        try:
            steps.append(command(item))
        except (Unreadable, Refusal) as error:
            steps.append(ReportLine(item.place, "refused", str(error)))
    commands = [step for step in steps if isinstance(step, ImportedAward)]
    settled = registry.settle(registry.preparation().prepare_all(commands), PAGE_SECONDS) if commands else []
    recorded = registry.known(outcome.id for outcome in settled if not isinstance(outcome, Exception))
    outcomes = iter(settled)
    for item, step in zip(page, steps, strict=True):
        yield step if isinstance(step, ReportLine) else _line(item.place, next(outcomes), recorded)


def _line(place: str, settled: Settled, reason: Known | str) -> ReportLine:
    """The line of an item; its reason is given, or follows from the recorded badge."""
    if isinstance(settled, UnavailableError):
        raise settled
    if isinstance(settled, Refusal):
        return ReportLine(place, "refused", str(settled))
    if isinstance(settled, Exception):
        # The text of an unexpected error may hold personal data.
        return ReportLine(place, "refused", f"could not be recorded ({type(settled).__name__})")
    text = reason if isinstance(reason, str) else _noted(reason.badge(settled.id))
    return ReportLine(place, "imported" if settled.created else "known", text)


def _noted(state: Badge | None) -> str:
    """The notes in the award's event: the badge type, where it is not a microcredential, and the findings."""
    if state is None:
        return ""
    award = state.award
    parts = [award.badge_type] if award.badge_type else []
    return "; ".join([*parts, ", ".join(award.findings)] if award.findings else parts)


def _pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while page := list(itertools.islice(iterator, size)):
        yield page
