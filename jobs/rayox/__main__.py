"""`python -m rayox` is `rayox`."""

import sys

from rayox.cli import main

sys.exit(main())
