"""Every command that the documents tell people to type is there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.end_to_end.processes import PROJECT, explained

RUNBOOKS = tuple(f"docs/runbooks/{page.name}" for page in sorted((PROJECT / "docs/runbooks").glob("*.md")))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/operating.md", "docs/clients.md", *RUNBOOKS)
FENCED = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
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
