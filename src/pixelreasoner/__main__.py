"""`python -m pixelreasoner`, and the command `pixelreasoner`."""

from __future__ import annotations

import sys

from pixelreasoner.cli.signals import Interrupts


def run() -> None:
    """Run a command and end the process with its exit code."""
    Interrupts().install()
    # Half a second, in which Ctrl-C is given too.
    from pixelreasoner.cli.main import main

    sys.exit(main())


if __name__ == "__main__":
    run()
