"""`registry import edubadges` as a registrar types it: its report, its exit status, and kill -9 halfway."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.end_to_end.processes import DEMO_EVENTS, REGISTRY, Done, Workshop, environment, registry
from tests.hosted import (
    BY_EMAIL,
    BY_EPPN,
    SITE,
    badge_class,
    expanded,
    expanded_class,
    folder,
    revoked,
)

MANY = 3_000


def imported(data: Path, path: Path, *more: str) -> Done:
    done = registry("import", "edubadges", str(path), *more, data_dir=data)
    assert "Traceback" not in done.err, done.err
    return done


def counts(done: Done) -> tuple[int, ...]:
    """The numbers of the last line, which are those of the lines before it."""
    found = re.fullmatch(r"imported (\d+), known (\d+), refused (\d+)", done.last_line)
    assert found, done
    lines = Counter(line.split("\t")[1] for line in done.out.splitlines()[:-1])
    numbers = tuple(map(int, found.groups()))
    assert numbers == (lines["imported"], lines["known"], lines["refused"])
    return numbers


def test_a_registrar_imports_twice_then_what_was_revoked_and_two_bulk_files(
    workshop: Workshop, tmp_path: Path
) -> None:
    data = workshop.data()
    good = folder(tmp_path / "good", a=expanded("a"), b=expanded("b"))
    done = imported(data, good)
    assert (done.status, counts(done)) == (0, (2, 0, 0))
    assert done.out.splitlines()[0] == "a.json\timported\tnlqf-from-eqf, recipient-hashed"
    done = imported(data, good)
    assert (done.status, counts(done)) == (0, (0, 2, 0))
    mixed = folder(
        tmp_path / "mixed",
        c=expanded("c", of=expanded_class("elsewhere", id=f"{SITE}/badges/elders")),
        its_class=badge_class(),
        r=revoked("a"),
        broken=b"{",
    )
    done = imported(data, mixed)
    assert (done.status, counts(done)) == (1, (1, 0, 3))
    done = imported(data, mixed, "--institution", "22OJ")
    assert (done.status, counts(done)) == (1, (1, 1, 2))
    for text, expected in ((BY_EPPN, (2, 0, 2)), (BY_EMAIL, (1, 0, 1))):
        (tmp_path / "bulk.csv").write_text(text)
        done = imported(data, tmp_path / "bulk.csv", *bulk_words(data, workshop))
        assert (done.status, counts(done)) == (1, expected)
        assert "verzonnen@" not in (done.out + done.err).lower()
    done = imported(data, good, "--institution", "30XX")
    assert (done.status, done.out) == (1, "")
    assert "30XX is not admitted" in done.err


def bulk_words(data: Path, workshop: Workshop) -> tuple[str, ...]:
    serving = workshop.serve(data)
    serving.settled()
    with serving.client() as client:
        (module,) = client.items("/v1/modules?institution=27UM&reference=KLINRED")
    assert serving.stop() == 0
    return ("--csv", "--module", module["id"], "--awarded-on", "2024-06-01")


def test_an_import_that_is_killed_is_completed_by_the_next_and_the_service_shows_all(
    workshop: Workshop, tmp_path: Path
) -> None:
    data = workshop.data()
    path = tmp_path / "many"
    folder(path, **{f"a{number:05}": expanded(f"a{number}") for number in range(MANY)})
    words = [REGISTRY, "import", "edubadges", str(path)]
    running = workshop.run(words, environment(data_dir=data), tmp_path)
    running.line(r"^(\S+)\timported")
    running.kill()
    done = imported(data, path)
    numbers = counts(done)
    assert (done.status, sum(numbers), numbers[2]) == (0, MANY, 0)
    assert numbers[1] > 0
    assert counts(imported(data, path)) == (0, MANY, 0)
    serving = workshop.serve(data)
    position = serving.settled()
    assert position == DEMO_EVENTS + 1 + MANY, "a module and its awards"
