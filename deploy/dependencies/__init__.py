"""What the registry, its broker and its tests are made of, read from the locks: audited, and listed."""


class DependencyError(Exception):
    """The dependencies cannot be audited or listed, or one has a known weakness; says what to do."""
