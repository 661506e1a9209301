"""`python -m registry.cli`, the same as the command `registry`."""

import sys

from registry.cli.main import main

sys.exit(main())
