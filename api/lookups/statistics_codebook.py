"""The codebook: the meaning of every name in the statistics, and how its CSV is read."""

from __future__ import annotations

from api.http.responses import Codebook, CodebookEntry

MEASURES = {
    "awarded": "Awards recorded by the position, including those later suspended or revoked.",
    "revoked": "Awards revoked by the position, whatever their `effectiveOn`.",
    "superseded": "Revoked awards that a later award, recorded by the position, names in `supersedes`;"
    " counted in the group of the revoked award.",
    "active": "`awarded` less `revoked` less suspended, by the position. Expiry never counts.",
    "ects": "ECTS credits of awards that are not revoked. Hours of study are never converted.",
    "sbu": "Hours of study (SBU) of awards that are not revoked. Credits are never converted.",
    "learners": "Distinct learners with an award, only if `measures` names it. Not additive over groups.",
}
DIMENSIONS = {
    "institution": "BRIN of the awarding institution.",
    "module": "Id of the module.",
    "month": "Month of `awardedOn`, `YYYY-MM`.",
    "quarter": "Quarter of `awardedOn`, `YYYY-Qn`.",
    "year": "Year of `awardedOn`, `YYYY`.",
    "sector": "The institution's sector on the award: `hbo`, `wo` or `mbo`.",
    "nlqf": "NLQF level on the award, `1` to `8` or `4+`; null if there is none.",
    "isced": "ISCED-F code on the award, two to four digits; null if there is none.",
    "iscedNarrow": "The first three digits of that code: its narrow field; null if it has fewer.",
    "iscedBroad": "The first two digits of that code: its broad field; null if there is none.",
    "programme": "Programme on the award; null if there is none.",
    "targetGroup": "Target group in the module version that was awarded: `professionals`, also where the"
    " institution left it out, or `initial-students`; null if an import did not state it.",
    "channel": "How the award was recorded: `api`, `batch`, `import`, `stream` or `demo`.",
}
REVOCATIONS = {
    "month": "Month in which the revocation was recorded, in Amsterdam, `YYYY-MM`; `effectiveOn` and the"
    " unknown day of a revocation that an import found do not count.",
    "quarter": "Quarter in which it was recorded, `YYYY-Qn`.",
    "year": "Year in which it was recorded, `YYYY`.",
    "reason": "`awarded-in-error`, `fraud`, `identity-error`, `learner-request` or `other`.",
    "institution": "BRIN of the awarding institution.",
    "revoked": "Badges revoked by the position.",
    "medianDays": "Median of the days from `awardedOn` to the day on which the revocation was recorded.",
}
LEARNERS = {
    "institution": "BRIN of the awarding institution: only its own awards count then.",
    "microcredentials": "Badges that a learner holds: awarded and not revoked. Who holds none is left out.",
    "learners": "Distinct learners who hold so many. Not additive over institutions.",
}
FILTERS = {
    "from": "First day of `awardedOn`, or of the recorded revocation; inclusive.",
    "until": "Last day of `awardedOn`, or of the recorded revocation; exclusive.",
    "position": "The position of the log at which the figures are computed; the newest if it is left out."
    " The figures at a position never change.",
    "asOf": "Instead of `position`: the figures at the end of this day in Amsterdam. The answer names the"
    " position. Of today: what is recorded so far.",
}
CSV = {
    "columns": "Dimensions, measures, `position` and `asOf`. `institutionName` and `moduleName` are today's"
    " names in the catalogue.",
    "empty": "An empty cell is null.",
    "apostrophe": "A text that begins with `=`, `+`, `-`, `@` (of any width), tab, a line end or an"
    " apostrophe, that reads as a number, such as the ISCED-F code `0613`, or that is a word such as `TRUE`"
    " or `NA`, has an apostrophe before it. Take one away from each cell that begins with one. Numbers never"
    " have one.",
    "separator": "`,` or with `separator=;` a semicolon. The decimal sign is a point in both.",
    "encoding": "UTF-8 without a byte order mark; lines end with CR LF (RFC 4180).",
}
NOTES = {
    "exact": "All figures are exact: nothing is rounded, and no cell is left out.",
    "smallCells": "A cell of few learners can say something about a person and is personal data then. Keep"
    " such figures, and your token, as you keep personal data.",
    "institutions": "A token of an institution reads the figures of its own awards alone.",
}


def codebook() -> Codebook:
    return Codebook(
        dimensions=_entries(DIMENSIONS),
        measures=_entries(MEASURES),
        revocations=_entries(REVOCATIONS),
        learners=_entries(LEARNERS),
        filters=_entries(FILTERS),
        csv=_entries(CSV),
        notes=_entries(NOTES),
    )


def _entries(texts: dict[str, str]) -> list[CodebookEntry]:
    return [CodebookEntry(name=name, description=text) for name, text in texts.items()]
