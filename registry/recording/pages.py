"""A page: some commands, loaded together, decided each by itself, appended together."""

from __future__ import annotations

import copy
import datetime as dt
import logging
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

import msgspec

from registry import defects
from registry.domain.errors import Refusal
from registry.domain.private_parts import PrivateParts
from registry.event_store.append import ConnectionLostError, Row, row
from registry.event_store.session import Session
from registry.event_store.vault import Owner, Vault, encoded
from registry.keys import RandomBytes
from registry.postgres.connections import BusyError, UnavailableError
from registry.recording.decisions import Command, Decision, Known, Outcome, Settled, UnreadableError

MAX_ROUNDS_IN_VAIN = 8
log = logging.getLogger("registry.recorder")

Lines = list[tuple[int, Command[Outcome]]]
"""Commands with their places in the page."""
Entry = tuple[int, Command[Outcome], Decision[Outcome], Row]
"""A line with what it decides, and the row that records it."""


class Decided:
    """The result of one round over a page: units to append, lines that are settled, lines for later."""

    def __init__(self) -> None:
        self.units: list[list[Entry]] = []
        self.settled: dict[int, Settled] = {}
        self.later: Lines = []


def settle(
    session: Session, vault: Vault, clock: Callable[[], dt.datetime], commands: Sequence[Command[Outcome]]
) -> Iterator[dict[int, Settled]]:
    """Decides and records; after each round, the commands that are settled by it, by their places.

    In the end each command has its outcome, or why it has none. Commands that meet another writer are
    loaded and decided again. So is the whole page after the connection was lost during the append: it may
    be recorded, and is then known. Where a page fails, each command is tried alone, so that only the one
    that fails it is refused.
    """
    lines: Lines = list(enumerate(commands))
    failure: UnavailableError = BusyError("too many writers want the same streams")
    rounds_in_vain = 0
    while lines and rounds_in_vain < MAX_ROUNDS_IN_VAIN:
        before = len(lines)
        try:
            known = load(session, vault, clock(), lines)
            decided = decide(known, lines)
            again = _append(session, vault, known, decided)
        except ConnectionLostError as error:
            failure = error
        except UnavailableError as error:
            failure = error
            break
        except Exception as error:
            if len(commands) == 1:
                log.error("a command failed after %s", defects.named(error))  # noqa: TRY400
                yield {lines[0][0]: error.with_traceback(None)}
                return
            yield from _settle_alone(session, vault, clock, lines)
            return
        else:
            yield decided.settled
            lines = sorted(decided.later + again, key=itemgetter(0))
        rounds_in_vain += len(lines) == before
    # Each an exception of its own: one that is raised in several places collects their tracebacks.
    yield {line: copy.copy(failure) for line, _ in lines}


def _settle_alone(
    session: Session, vault: Vault, clock: Callable[[], dt.datetime], lines: Lines
) -> Iterator[dict[int, Settled]]:
    """Settles each command as a page of one, until PostgreSQL is away."""
    failure: UnavailableError | None = None
    for line, command in lines:
        if failure is None:
            (outcome,) = [
                outcome for page in settle(session, vault, clock, [command]) for outcome in page.values()
            ]
            yield {line: outcome}
            if isinstance(outcome, UnavailableError) and not isinstance(outcome, UnreadableError):
                failure = outcome
        else:
            yield {line: copy.copy(failure)}


def load(session: Session, vault: Vault, now: dt.datetime, lines: Lines) -> Known:
    """The recorded state of all that the commands name."""
    alias_keys = {command.alias_key for _, command in lines if command.alias_key is not None}
    subjects = set[str]().union(*[command.subjects for _, command in lines])
    loaded = session.load(subjects, alias_keys)
    recorded = {
        command.subjects[0]
        for _, command in lines
        if command.reads_private_parts and command.subjects[0] in loaded.streams
    }
    private_parts: dict[str, PrivateParts] = {}
    if recorded:
        with session.cursor() as cursor:
            private_parts = vault.read_awards(cursor, list(recorded))
    return Known(loaded.position, now, loaded.streams, loaded.learners, private_parts)


def decide(known: Known, lines: Lines) -> Decided:
    """Decides each command; does no I/O.

    A command that reads a stream which an earlier one of the page writes waits for the next round, so that
    of two lines with one reference the first wins. Awards to one new learner are one unit: where another
    writer was first with the learner, all of them are decided again.
    """
    decided = Decided()
    written: set[str] = set()
    newcomers: dict[bytes | None, list[Entry]] = {}
    for line, command in lines:
        subjects = command.subjects
        if not written.isdisjoint(subjects):
            decided.later.append((line, command))
            written.add(subjects[0])
            continue
        try:
            decision = command.decide(known)
            if decision.fact is None:
                decided.settled[line] = decision.outcome
                continue
            made = row(subjects[0], decision.version, decision.fact)
        except Exception as error:
            if not isinstance(error, Refusal | UnreadableError):
                log.error("a command failed after %s", defects.named(error))  # noqa: TRY400
            # Its traceback would keep the whole page in memory until the garbage is collected.
            decided.settled[line] = error.with_traceback(None)
            continue
        written.add(subjects[0])
        unit = newcomers.get(command.alias_key)
        if unit is None:
            decided.units.append(unit := [])
            if (alias_key := decision.alias_key) is not None and decision.learner_id is not None:
                known.meet(alias_key, decision.learner_id)
                newcomers[alias_key] = unit
        unit.append((line, command, decision, made))
    return decided


def _append(session: Session, vault: Vault, known: Known, decided: Decided) -> Lines:
    """Appends the units and settles their commands; answers those to decide again."""
    if not decided.units:
        return []
    random = RandomBytes()
    units = [
        [_sealed(vault, decision, made, random) for _, _, decision, made in unit] for unit in decided.units
    ]
    answer = session.append(units, known.relied_on, known.position)
    if answer.changed is not None:
        return [(line, command) for unit in decided.units for line, command, _, _ in unit]
    again: Lines = []
    position, conflicts = answer.last, frozenset(answer.conflicts)
    for number, unit in enumerate(decided.units):
        if number in conflicts:
            again += [(line, command) for line, command, _, _ in unit]
            continue
        for line, _, decision, _ in unit:
            position += 1
            decided.settled[line] = msgspec.structs.replace(decision.outcome, position=position)
    return again


def _sealed(vault: Vault, decision: Decision[Outcome], made: Row, random: RandomBytes) -> Row:
    """The row with its private parts, sealed, and the alias of a new learner.

    Only the decision knows whose the parts are: an award may be to a learner who is recorded already.
    """
    made.alias_key, private = decision.alias_key, decision.private
    if private is not None:
        made.institution, made.learner_id = decision.institution, decision.learner_id
        owner = Owner(f"{made.subject}/{made.version}", made.institution, made.learner_id)
        parts = private if isinstance(private, bytes) else encoded(private)
        made.sealed = vault.seal(owner, parts, random)
    return made
