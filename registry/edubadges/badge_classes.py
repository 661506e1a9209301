"""A badge class as a module's content; what it does not say stays null, and nothing is made up.

Edubadges' own words are in its extensions and in the members that `?expand=badge` adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from registry.domain import values
from registry.domain.events import BadgeType, Level, ModuleContent, QualityAssurance, StudyLoad
from registry.domain.imports import ImportedModule
from registry.edubadges.items import Unreadable
from registry.edubadges.texts import address, line, members, text

LONGEST_NAME, LONGEST_DESCRIPTION, LONGEST_OUTCOME = 255, 4_000, 500

_TYPES: dict[str, BadgeType | None] = {
    "micro_credential": None,
    "regular": "regular",
    "extra_curricular": "extra-curricular",
}
_PARTICIPATION = {
    "online": "online",
    "onsite": "onsite",
    "blended": "blended",
    "work_experience": "work-experience",
}
# `oram_exam` is what Edubadges writes. `testing` and `application of a skill` are left out: they are
# wider than any word of ours.
_ASSESSMENT = {
    "written_exam": "written-exam",
    "oram_exam": "oral-exam",
    "oral_exam": "oral-exam",
    "report_paper": "report",
    "behavioural_assessment": "behavioural",
    "professional_product": "professional-product",
    "development_report": "development-report",
    "portfolio_assessment": "portfolio",
    "portfolio": "portfolio",
    "personalized_assessment": "personalised",
    "recognition of prior learning": "recognition",
}


def merged(first: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """What several answers say of one badge class or issuer; where they differ, the first stands."""
    told = {name: value for name, value in later.items() if value not in (None, "", [], {})}
    kept = {name: value for name, value in first.items() if value not in (None, "", [], {})}
    if isinstance(told.get("issuer"), dict) and not isinstance(kept.get("issuer"), dict):
        kept["issuer"] = told["issuer"]
    return {**told, **kept}


def read_badge_class(reference: str, stated: dict[str, Any]) -> ImportedModule:
    return _BadgeClass(stated).module(reference)


class _BadgeClass:
    """One badge class while it is read: the findings come together on the way."""

    def __init__(self, stated: dict[str, Any]) -> None:
        self._stated, self._findings = stated, list[str]()

    def module(self, reference: str) -> ImportedModule:
        badge_type = self._type()
        content = self._content()
        return ImportedModule(reference, content, badge_type, tuple(dict.fromkeys(self._findings)))

    def _content(self) -> ModuleContent:
        name = line(self._stated.get("name"))
        if name is None:
            raise Unreadable("its badge class has no name")
        participation = self._word("participation", _PARTICIPATION)
        return ModuleContent(
            name=self._bounded(name, LONGEST_NAME, "name-long"),
            description=self._description(),
            study_load=self._study_load(),
            level=self._level(),
            learning_outcomes=self._outcomes(),
            language=self._language(),
            participation=participation,
            assessment=self._assessment(),
            quality_assurance=self._quality_assurance(),
            supervision=self._supervision(participation),
            stackable=self._flag("stackable"),
            faculty=self._faculty(),
            programme=self._programme(),
        )

    def _note(self, finding: str) -> None:
        self._findings.append(finding)

    def _bounded(self, value: str, most: int, finding: str) -> str:
        """What is longer than the registry takes by itself is kept whole, and noted."""
        if len(value) > most:
            self._note(finding)
        return value

    def _extension(self, name: str, member: str) -> Any:
        return members(self._stated.get(f"extensions:{name}Extension")).get(member)

    def _flag(self, name: str) -> bool | None:
        value = self._stated.get(name)
        return value if isinstance(value, bool) else None

    def _taken(self, value: object, take: Callable[[Any], Any], finding: str) -> Any:
        """The value as the registry takes it; noted where there is one that it does not take."""
        if value is None:
            return None
        try:
            return take(value)
        except (ValueError, KeyError, TypeError):
            self._note(finding)
            return None

    def _type(self) -> BadgeType | None:
        stated = text(self._stated.get("typeBadgeClass"))
        if stated is None:
            self._note("no-badge-type")
            return None
        if stated not in _TYPES:
            raise Unreadable("states a badge type that is not known, and may be no microcredential")
        return _TYPES[stated]

    def _description(self) -> str | None:
        found = text(self._stated.get("description"))
        return found and self._bounded(found, LONGEST_DESCRIPTION, "description-long")

    def _study_load(self) -> StudyLoad | None:
        ects, hours = self._extension("ECTS", "ECTS"), self._extension("StudyLoad", "StudyLoad")
        if ects is not None and hours is not None:
            self._note("two-study-loads")
        taken = self._taken(ects, values.ects, "study-load-not-taken")
        if taken is not None:
            return StudyLoad(ects=taken)
        sbu = self._taken(hours, _sbu, "study-load-not-taken")
        return None if sbu is None else StudyLoad(sbu=sbu)

    def _level(self) -> Level | None:
        """Edubadges has one number for both; NLQF 4+ is not told from 4 by it."""
        level = self._taken(self._extension("EQF", "EQF"), _level, "level-not-taken")
        if level is None:
            return None
        self._note("nlqf-from-eqf")
        return Level(nlqf=level, eqf=level)

    def _outcomes(self) -> tuple[str, ...] | None:
        found = text(self._extension("LearningOutcome", "LearningOutcome"))
        return None if found is None else (self._bounded(found, LONGEST_OUTCOME, "outcome-long"),)

    def _language(self) -> str | None:
        stated = self._extension("Language", "Language")
        found: str | None = self._taken(stated or None, _language, "language-not-taken")
        return found

    def _word(self, name: str, words: dict[str, str]) -> str | None:
        stated = text(self._stated.get(name))
        found: str | None = self._taken(stated, words.__getitem__, f"{name}-not-taken")
        return found

    def _assessment(self) -> tuple[str, ...] | None:
        stated = self._stated.get("assessmentType")
        words = stated.split(",") if isinstance(stated, str) else stated if isinstance(stated, list) else []
        taken = [
            self._taken(text(word), _ASSESSMENT.__getitem__, "assessment-not-taken") for word in words if word
        ]
        return tuple(dict.fromkeys(word for word in taken if word is not None)) or None

    def _supervision(self, participation: str | None) -> str | None:
        """Two flags: with the identity checked they do not say where, which the participation may do."""
        supervised, identity = self._flag("assessmentSupervised"), self._flag("assessmentIdVerified")
        if supervised is None or identity is None:
            return None
        if not identity:
            return "supervised" if supervised else "none"
        if supervised and participation in ("online", "onsite"):
            return f"{participation}-with-identity"
        self._note("supervision-not-taken")
        return None

    def _quality_assurance(self) -> QualityAssurance | None:
        name = line(self._stated.get("qualityAssuranceName"))
        url = address(self._stated.get("qualityAssuranceUrl"))
        if name is None or url is None:
            if name or self._stated.get("qualityAssuranceUrl"):
                self._note("quality-assurance-not-taken")
            return None
        return QualityAssurance(
            name=name, url=url, description=text(self._stated.get("qualityAssuranceDescription"))
        )

    def _faculty(self) -> str | None:
        faculty = members(members(self._stated.get("issuer")).get("faculty"))
        return next(filter(None, (line(faculty.get(name)) for name in ("name_dutch", "name"))), None)

    def _programme(self) -> str | None:
        """The codes of the programmes that it belongs to (CROHO, or CREBO in mbo)."""
        stated = self._extension("EducationProgramIdentifier", "EducationProgramIdentifier")
        codes = stated if isinstance(stated, list) else [stated]
        named = (
            line(str(code)) for code in codes if isinstance(code, int | str) and code is not True and code
        )
        return ", ".join(code for code in named if code) or None


def _sbu(value: object) -> int:
    return values.sbu(int(value) if isinstance(value, float) and value.is_integer() else value)


def _level(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in range(1, 9):
        raise ValueError("is no level of the framework")
    return str(int(value))


def _language(value: object) -> str:
    """`nl_NL` is nl-NL; `en_EN`, which Edubadges writes for English, names no country."""
    tag = "en" if value == "en_EN" else str(value).replace("_", "-")
    if not values.LANGUAGE.fullmatch(tag):
        raise ValueError("is no language tag")
    return tag
