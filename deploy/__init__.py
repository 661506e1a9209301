"""Tools to run the registry on the machine of a developer or an operator; not part of the package."""
