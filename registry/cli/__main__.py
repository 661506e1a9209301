"""`python -m registry.cli` runs the command `registry`."""

import sys

from registry.cli.main import main

sys.exit(main())
