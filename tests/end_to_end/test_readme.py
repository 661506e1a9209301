"""Every command, link and file that the documents name exists."""

from __future__ import annotations

import re
from collections.abc import Iterator

from registry.release import RELEASE
from tests.end_to_end.processes import PROJECT, explained

RUNBOOKS = tuple(f"docs/runbooks/{page.name}" for page in sorted((PROJECT / "docs/runbooks").glob("*.md")))
DECISIONS = tuple(f"docs/decisions/{page.name}" for page in sorted((PROJECT / "docs/decisions").glob("*.md")))
DOCUMENTS = (
    "README.md",
    "README.nl.md",
    "CONTRIBUTING.md",
    "docs/operating.md",
    "docs/clients.md",
    "docs/events.md",
    "docs/extending.md",
    "docs/measured.md",
    *RUNBOOKS,
)
PAGES = (*DOCUMENTS, "CHANGELOG.md", "SECURITY.md", *DECISIONS)
FENCED = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Not below another folder, as /etc/registry is.
FILE = re.compile(r"(?<!/)\b((?:api|consumers|deploy|docs|projections|registry|tests)/[\w./-]*\w)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
# At the place of a command: first on the line, after a prompt, settings, `$(` or another command.
COMMAND = re.compile(
    r"(?:^\s*(?:[$#] )?|\$\(|[|;&]\s*)(?:\w+=\S*\s+)*(?:exec\s+)?(?:\S*/bin/)?"
    r"(make|registry)[ \t]+([^\n|;&)#`]+)",
    re.MULTILINE,
)


def typed(document: str) -> Iterator[tuple[str, list[str]]]:
    """Program and words of every command in a document's code, blocks and spans."""
    text = (PROJECT / document).read_text()
    code = [*FENCED.findall(text), *INLINE.findall(FENCED.sub("", text))]
    for each in code:
        for found in COMMAND.finditer(each.replace("\\\n", " ")):
            yield found[1], found[2].split()


def all_typed() -> list[tuple[str, list[str]]]:
    there = [document for document in DOCUMENTS if (PROJECT / document).exists()]
    return [command for document in there for command in typed(document)]


def test_every_make_target_in_the_documents_exists_and_the_readme_says_how_to_start_and_test() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for program, words in all_typed():
        if program == "make":
            assert {word for word in words if "=" not in word} <= targets, words
    assert {("make", "run"), ("make", "test")} <= {
        (program, words[0]) for program, words in typed("README.md")
    }


def test_every_registry_command_and_option_in_the_documents_exists() -> None:
    for words in (words for program, words in all_typed() if program == "registry"):
        depth = 2 if words[0] in ("token", "import") else 1
        done = explained(" ".join(word for word in words[:depth] if not word.startswith("-")))
        assert done.status == 0, (words, done.err)
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert option in done.out, words


def test_the_changelog_and_the_readme_name_the_release_of_this_code() -> None:
    first = re.search(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == RELEASE
    for page in ("README.md", "README.nl.md"):
        assert f"| {RELEASE}, " in (PROJECT / page).read_text(), page


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as the places that show the repository make them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def test_every_link_in_the_documents_leads_to_a_page_and_a_heading() -> None:
    for page in PAGES:
        for link in LINK.findall((PROJECT / page).read_text()):
            if "://" not in link:
                name, _, anchor = link.partition("#")
                target = PROJECT / page if not name else (PROJECT / page).parent / name
                assert target.exists(), (page, link)
                assert not anchor or anchor in anchors(target.read_text()), (page, link)


def test_every_file_that_the_documents_name_exists() -> None:
    # Of the page on extending, which also names files to create, tests/unit/test_extending.py says it.
    for page in set(PAGES) - {"docs/extending.md"}:
        for name in FILE.findall((PROJECT / page).read_text()):
            assert (PROJECT / name).exists(), (page, name)
