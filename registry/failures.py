"""The errors that end a command with one sentence for its operator, and exit status 1."""


class Failure(Exception):  # noqa: N818 - as a refusal is, it is an answer and no defect
    """Something that the registry needs is not as it must be: the text says what, and what to do."""
