"""The command behind `make audit`, `make sbom` and `make pin-images`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.dependencies import DependencyError
from deploy.dependencies.audit import audit
from deploy.dependencies.images import pin
from deploy.dependencies.sbom import write_sbom


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.dependencies")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("audit", help="look for known weaknesses of what the locks name; needs a network")
    listing = commands.add_parser("sbom", help="write the bill of materials of this release")
    commands.add_parser(
        "pin-images", help="put the digest of each image into deploy/; needs Docker and a network"
    )
    listing.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "audit":
                print(f"{audit()} packages have no known weakness")
            case "sbom":
                print(write_sbom(arguments.folder))
            case "pin-images":
                print(*pin(), sep="\n")
    except (DependencyError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
