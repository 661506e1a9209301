"""The import itself: items become commands, page by page, and each item has a line in the report.

Each award is recorded whole or not at all, and is known when it comes again: an interrupted import is
resumed by running it again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeVar, cast, get_args

import msgspec

from registry.domain.badge import AwardTerms, Badge
from registry.domain.errors import InstitutionNotAdmitted, ModuleNotFound, ModuleOfAnother, Refusal
from registry.domain.events import RevocationReason
from registry.domain.imports import ImportedModule
from registry.domain.institution import Origin
from registry.domain.module import Module
from registry.domain.values import BRIN
from registry.edubadges.items import AwardItem, Item, RefusedItem, RevokedItem, StatedClass, Unreadable
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


def import_hosted(
    registry: Registry, items: Sequence[Item], institution: str | None, *, all_types: bool
) -> Iterator[ReportLine]:
    """Records hosted assertions; `institution` is for those whose issuer names no admitted one."""
    hosted = _Hosted(registry, institution, all_types=all_types)
    for page in _pages((item for item in items if not isinstance(item, RevokedItem)), PAGE):
        yield from _settle(registry, page, hosted.commands(page))
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

    def __init__(self, registry: Registry, institution: str | None, *, all_types: bool) -> None:
        self._registry, self._named, self._all_types = registry, institution, all_types
        if institution is not None and not self._admitted(institution):
            raise InstitutionNotAdmitted(institution)
        self._institutions = registry.institutions()
        self._targets: dict[object, _Target | Unreadable | Refusal] = {}
        self._earlier: dict[str, list[str]] = {}

    def commands(self, page: Sequence[AwardItem | RefusedItem]) -> Callable[[AwardItem], ImportedAward]:
        """Makes the commands of a page: an award that is recorded already stays where it is."""
        recorded = self._recorded([item for item in page if isinstance(item, AwardItem)])
        return lambda award: _command(award, recorded.get(award.reference) or self._target(award))

    def _recorded(self, awards: Sequence[AwardItem]) -> dict[str, _Target]:
        """By reference, the module of each award that is recorded already.

        It may be another institution's than today: the source may name another one now, or another one may
        have been admitted or named.
        """
        ids = {
            self._registry.badge_id(brin, award.reference): award.reference
            for award in awards
            for brin in self._institutions_of(award.badge or "")
        }
        known = self._registry.known(ids)
        badges = ((reference, known.badge(badge_id)) for badge_id, reference in ids.items())
        return {
            reference: _Target(badge.award.institution, badge.award.module_id, None)
            for reference, badge in badges
            if badge is not None
        }

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

    def _target(self, award: AwardItem) -> _Target:
        """The module of an award's badge class, with what the answer states of it."""
        key = award.badge, award.stated
        if key not in self._targets:
            try:
                self._targets[key] = self._registered(award.badge or "", award.stated)
            except (Unreadable, Refusal) as error:
                self._targets[key] = error
        target = self._targets[key]
        if isinstance(target, Exception):
            raise target
        return target

    def _registered(self, badge_class: str, stated: StatedClass | str | None) -> _Target:
        """Registers what is stated of a badge class, where that is new."""
        if not isinstance(stated, StatedClass):
            raise Unreadable(stated)
        brin, source = self._institution(stated)
        if source.badge_type is not None and not self._all_types:
            raise Unreadable(
                f"is a {source.badge_type} badge, not a microcredential;"
                " --all-types imports it, marked as such"
            )
        module_id = self._registry.keys.made_id("module", brin, badge_class)
        self._registry.record(ImportModule(brin, module_id, source, ORIGIN))
        return _Target(brin, module_id, source)

    def _institution(self, stated: StatedClass) -> tuple[str, ImportedModule]:
        """The institution that an answer states, or else the named one; and the module with that noted."""
        brin = stated.institution
        if brin is not None and BRIN.fullmatch(brin) and self._admitted(brin):
            return brin, stated.module
        if self._named is None:
            raise Unreadable("its issuer names no admitted institution by BRIN; give --institution")
        findings = (*stated.module.findings, "institution-named")
        return self._named, msgspec.structs.replace(stated.module, findings=findings)

    def _institutions_of(self, badge_class: str) -> list[str]:
        """The institutions under which a badge class was registered before this import."""
        if badge_class not in self._earlier:
            module_id = self._registry.keys.made_id
            ids = {module_id("module", brin, badge_class): brin for brin in self._institutions}
            known = self._registry.known(ids)
            self._earlier[badge_class] = sorted(
                brin for module_id, brin in ids.items() if known.module(module_id) is not None
            )
        return self._earlier[badge_class]

    def _admitted(self, brin: str) -> bool:
        return self._registry.known([brin]).institution(brin) is not None


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
        findings=award.findings,
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
