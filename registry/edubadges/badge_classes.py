"""Reads a badge class as a module's content; what it does not say is null, and nothing is invented.

Edubadges' own members are its extensions, and those that `?expand=badge` adds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from registry.domain import values
from registry.domain.events import BadgeType, Level, ModuleContent, QualityAssurance, StudyLoad
from registry.domain.imports import ImportedModule
from registry.edubadges.items import Unreadable
from registry.edubadges.texts import address, line, members, text

MAX_NAME, MAX_DESCRIPTION, MAX_OUTCOME = 255, 4_000, 500

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
# Edubadges writes `oram_exam`. Its `testing` and `application of a skill` are left out: they are wider than
# any of the registry's own words.
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


def read_badge_class(reference: str, document: dict[str, Any]) -> ImportedModule:
    return _BadgeClass(document).module(reference)


class _BadgeClass:
    """A badge class while it is read: collects the findings on the way."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document, self._findings = document, list[str]()

    def module(self, reference: str) -> ImportedModule:
        badge_type = self._type()
        content = self._content()
        return ImportedModule(reference, content, badge_type, tuple(dict.fromkeys(self._findings)))

    def _content(self) -> ModuleContent:
        name = line(self._document.get("name"))
        if name is None:
            raise Unreadable("its badge class has no name")
        participation = self._word("participation", _PARTICIPATION)
        return ModuleContent(
            name=self._bounded(name, MAX_NAME, "name-long"),
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

    def _bounded(self, value: str, maximum: int, finding: str) -> str:
        """A text that is longer than the API accepts is kept whole, and noted."""
        if len(value) > maximum:
            self._note(finding)
        return value

    def _extension(self, name: str, member: str) -> Any:
        return members(self._document.get(f"extensions:{name}Extension")).get(member)

    def _flag(self, name: str) -> bool | None:
        value = self._document.get(name)
        return value if isinstance(value, bool) else None

    def _accepted(self, value: object, parse: Callable[[Any], Any], finding: str) -> Any:
        """The parsed value; None where there is none, or where it is not accepted, which is noted."""
        if value is None:
            return None
        try:
            return parse(value)
        except (ValueError, KeyError, TypeError):
            self._note(finding)
            return None

    def _type(self) -> BadgeType | None:
        word = text(self._document.get("typeBadgeClass"))
        if word is None:
            self._note("no-badge-type")
            return None
        if word not in _TYPES:
            raise Unreadable("its badge type is unknown; it might not be a microcredential")
        return _TYPES[word]

    def _description(self) -> str | None:
        description = text(self._document.get("description"))
        return description and self._bounded(description, MAX_DESCRIPTION, "description-long")

    def _study_load(self) -> StudyLoad | None:
        ects, hours = self._extension("ECTS", "ECTS"), self._extension("StudyLoad", "StudyLoad")
        if self._extension("TimeInvestment", "TimeInvestment") is not None:
            self._note("time-investment-not-taken")
        if ects is not None and hours is not None:
            self._note("two-study-loads")
        credit_points = self._accepted(ects, values.ects, "study-load-not-taken")
        if credit_points is not None:
            return StudyLoad(ects=credit_points)
        sbu = self._accepted(hours, _sbu, "study-load-not-taken")
        return None if sbu is None else StudyLoad(sbu=sbu)

    def _level(self) -> Level | None:
        """Edubadges has one number for both, which cannot tell NLQF 4+ from 4."""
        level = self._accepted(self._extension("EQF", "EQF"), _level, "level-not-taken")
        if level is None:
            return None
        self._note("nlqf-from-eqf")
        return Level(nlqf=level, eqf=level)

    def _outcomes(self) -> tuple[str, ...] | None:
        outcome = text(self._extension("LearningOutcome", "LearningOutcome"))
        return None if outcome is None else (self._bounded(outcome, MAX_OUTCOME, "outcome-long"),)

    def _language(self) -> str | None:
        language = self._extension("Language", "Language")
        tag: str | None = self._accepted(language or None, _language, "language-not-taken")
        return tag

    def _word(self, name: str, words: dict[str, str]) -> str | None:
        stated = text(self._document.get(name))
        word: str | None = self._accepted(stated, words.__getitem__, f"{name}-not-taken")
        return word

    def _assessment(self) -> tuple[str, ...] | None:
        stated = self._document.get("assessmentType")
        words = stated.split(",") if isinstance(stated, str) else stated if isinstance(stated, list) else []
        accepted = [
            self._accepted(text(word), _ASSESSMENT.__getitem__, "assessment-not-taken")
            for word in words
            if word
        ]
        return tuple(dict.fromkeys(word for word in accepted if word is not None)) or None

    def _supervision(self, participation: str | None) -> str | None:
        """Two flags say whether, but not where, the identity was checked; the participation may say where."""
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
        name = line(self._document.get("qualityAssuranceName"))
        url = address(self._document.get("qualityAssuranceUrl"))
        if name is None or url is None:
            if name or self._document.get("qualityAssuranceUrl"):
                self._note("quality-assurance-not-taken")
            return None
        return QualityAssurance(
            name=name, url=url, description=text(self._document.get("qualityAssuranceDescription"))
        )

    def _faculty(self) -> str | None:
        faculty = members(members(self._document.get("issuer")).get("faculty"))
        return next(filter(None, (line(faculty.get(name)) for name in ("name_dutch", "name"))), None)

    def _programme(self) -> str | None:
        """The codes of the programmes that the badge class belongs to (CROHO, or CREBO in mbo)."""
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
        raise ValueError("must be a level from 1 to 8")
    return str(int(value))


def _language(value: object) -> str:
    """`nl_NL` is nl-NL; `en_EN`, which Edubadges writes for English, is en."""
    tag = "en" if value == "en_EN" else str(value).replace("_", "-")
    if not values.LANGUAGE.fullmatch(tag):
        raise ValueError("must be a language tag")
    return tag
