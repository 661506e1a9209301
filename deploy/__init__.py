"""What runs beside the registry on a machine of a developer or an operator; no part of the package."""
