"""`python -m pixelreasoner`, the same as the command `pixelreasoner`."""

import sys

from pixelreasoner.cli.main import main

sys.exit(main())
