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
from registry.edubadges.members import states_more
from registry.edubadges.texts import address, is_stated, line, members, text

MAX_OUTCOME = 500
MAX_WORDS = 100
"""Words of a list: several times what a badge class has."""

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
        self._document = document
        # A dictionary keeps the order in which they are found, and each once.
        self._findings = dict[str, None]()

    def module(self, reference: str) -> ImportedModule:
        badge_type = self._type()
        content = self._content()
        issuer = members(self._document.get("issuer"))
        faculty = members(issuer.get("faculty"))
        if (
            states_more("badge class", self._document)
            or states_more("issuer", issuer)
            or states_more("faculty", faculty)
        ):
            self._note("members-not-taken")
        return ImportedModule(reference, content, badge_type, tuple(self._findings))

    def _content(self) -> ModuleContent:
        name = line(self._document.get("name"))
        if name is None:
            raise Unreadable("its badge class has no name")
        participation = self._participation()
        return ModuleContent(
            name=self._bounded(name, values.MAX_NAME, "name-long"),
            description=self._description(),
            study_load=self._study_load(),
            level=self._level(),
            learning_outcomes=self._outcomes(),
            language=self._language(),
            participation=participation,
            assessment=self._assessment(),
            quality_assurance=self._quality_assurance(),
            supervision=self._supervision(participation),
            stackable=self._flag("stackable", "stackable-not-taken"),
            faculty=self._faculty(),
            programme=self._programme(),
        )

    def _note(self, finding: str) -> None:
        self._findings[finding] = None

    def _bounded(self, value: str, maximum: int, finding: str) -> str:
        """A text that is longer than the API accepts is kept whole, and noted."""
        if len(value) > maximum:
            self._note(finding)
        return value

    def _extension(self, name: str) -> Any:
        """The value of an extension; the extension itself where it has another form, so that it is noted."""
        extension = self._document.get(f"extensions:{name}Extension")
        if not is_stated(extension):
            return None
        if not isinstance(extension, dict):
            return [extension]
        if any(is_stated(extension[more]) for more in extension.keys() - {"@context", "type", "id", name}):
            self._note("members-not-taken")
        return extension.get(name)

    def _flag(self, name: str, finding: str) -> bool | None:
        value = self._document.get(name)
        if isinstance(value, bool):
            return value
        if is_stated(value):
            self._note(finding)
        return None

    def _accepted(self, value: object, parse: Callable[[Any], Any], finding: str) -> Any:
        """The parsed value; None where there is none, or where it is not accepted, which is noted."""
        if not is_stated(value):
            return None
        try:
            return parse(value)
        except Unreadable:
            raise
        except (ValueError, KeyError, TypeError):
            self._note(finding)
            return None

    def _type(self) -> BadgeType | None:
        stated = self._document.get("typeBadgeClass")
        if not is_stated(stated):
            self._note("no-badge-type")
            return None
        word = text(stated)
        if word not in _TYPES:
            raise Unreadable("its badge type is unknown; it might not be a microcredential")
        return _TYPES[word]

    def _description(self) -> str | None:
        description = self._accepted(self._document.get("description"), _text, "description-not-taken")
        return description and self._bounded(description, values.MAX_LONG_TEXT, "description-long")

    def _study_load(self) -> StudyLoad | None:
        ects, hours = self._extension("ECTS"), self._extension("StudyLoad")
        if is_stated(self._extension("TimeInvestment")):
            self._note("time-investment-not-taken")
        if is_stated(ects) and is_stated(hours):
            self._note("two-study-loads")
        credit_points = self._accepted(ects, values.ects, "study-load-not-taken")
        if credit_points is not None:
            return StudyLoad(ects=credit_points)
        sbu = self._accepted(hours, _sbu, "study-load-not-taken")
        return None if sbu is None else StudyLoad(sbu=sbu)

    def _level(self) -> Level | None:
        """Edubadges has one number for both, which cannot tell NLQF 4+ from 4."""
        level = self._accepted(self._extension("EQF"), _level, "level-not-taken")
        if level is None:
            return None
        self._note("nlqf-from-eqf")
        return Level(nlqf=level, eqf=level)

    def _outcomes(self) -> tuple[str, ...] | None:
        outcome = self._accepted(self._extension("LearningOutcome"), _text, "outcomes-not-taken")
        return None if outcome is None else (self._bounded(outcome, MAX_OUTCOME, "outcome-long"),)

    def _language(self) -> str | None:
        tag: str | None = self._accepted(self._extension("Language"), _language, "language-not-taken")
        return tag

    def _participation(self) -> str | None:
        word: str | None = self._accepted(
            self._document.get("participation"),
            lambda stated: _PARTICIPATION[_word(stated)],
            "participation-not-taken",
        )
        return word

    def _assessment(self) -> tuple[str, ...] | None:
        stated = self._document.get("assessmentType")
        words = (text(stated) or "").split(",") if isinstance(stated, str) else stated
        accepted = [
            self._accepted(word, lambda stated: _ASSESSMENT[_word(stated)], "assessment-not-taken")
            for word in self._list(words, "assessment-not-taken")
        ]
        return tuple(dict.fromkeys(word for word in accepted if word is not None)) or None

    def _list(self, stated: object, finding: str) -> list[Any]:
        """The members of a list, up to MAX_WORDS; a single one counts as a list."""
        listed = stated if isinstance(stated, list) else [stated]
        if len(listed) > MAX_WORDS:
            self._note(finding)
        return listed[:MAX_WORDS]

    def _supervision(self, participation: str | None) -> str | None:
        """Two flags say whether, but not where, the identity was checked; the participation may say where."""
        supervised = self._flag("assessmentSupervised", "supervision-not-taken")
        identity = self._flag("assessmentIdVerified", "supervision-not-taken")
        if supervised is None and identity is None:
            return None
        if supervised is not None and identity is False:
            return "supervised" if supervised else "none"
        if supervised and identity and participation in ("online", "onsite"):
            return f"{participation}-with-identity"
        self._note("supervision-not-taken")
        return None

    def _quality_assurance(self) -> QualityAssurance | None:
        stated = [self._document.get(f"qualityAssurance{part}") for part in ("Name", "Url", "Description")]
        name, url, description = line(stated[0]), address(stated[1]), text(stated[2])
        if any(is_stated(part) and not isinstance(part, str) for part in stated) or (
            any(map(is_stated, stated)) and (name is None or url is None)
        ):
            self._note("quality-assurance-not-taken")
        if name is None or url is None:
            return None
        long = "quality-assurance-long"
        self._bounded(url, values.MAX_WEB_ADDRESS, long)
        self._bounded(description or "", values.MAX_LONG_TEXT, long)
        return QualityAssurance(
            name=self._bounded(name, values.MAX_NAME, long), url=url, description=description
        )

    def _faculty(self) -> str | None:
        stated = members(self._document.get("issuer")).get("faculty")
        faculty = self._accepted(stated, _object, "faculty-not-taken") or {}
        names = [
            self._accepted(faculty.get(name), _line, "faculty-not-taken") for name in ("name_dutch", "name")
        ]
        name = next(filter(None, names), None)
        return name and self._bounded(name, values.MAX_NAME, "faculty-long")

    def _programme(self) -> str | None:
        """The codes of the programmes that the badge class belongs to (CROHO, or CREBO in mbo)."""
        finding = "programme-not-taken"
        stated = self._extension("EducationProgramIdentifier")
        codes = [self._accepted(code, _code, finding) for code in self._list(stated, finding)]
        programme = ", ".join(code for code in codes if code)
        return self._bounded(programme, values.MAX_NAME, "programme-long") or None


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")  # noqa: TRY004 - noted, like any wrong value
    return value


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004
    return text(value)


def _line(value: object) -> str | None:
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004
    return line(value)


def _word(value: object) -> str:
    return _line(value) or ""


def _code(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be a number or a text")  # noqa: TRY004
    return line(str(value))


def _sbu(value: object) -> int:
    return values.sbu(int(value) if isinstance(value, float) and value.is_integer() else value)


def _level(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in range(1, 9):
        raise ValueError("must be a level from 1 to 8")
    return str(int(value))


def _language(value: object) -> str:
    """`nl_NL` is nl-NL; `en_EN`, which Edubadges writes for English, is en."""
    tag = "en" if value == "en_EN" else (_line(value) or "").replace("_", "-")
    if not values.LANGUAGE.fullmatch(tag):
        raise ValueError("must be a language tag")
    return tag
