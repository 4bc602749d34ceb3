"""Train an agent: `python main.py --env-name Pong-v0 --num-processes 16`."""

import os
import signal
import sys

from workers.process import limit_threads


def main() -> int:
    """Train as the command line says; return the exit code."""
    limit_threads()
    # Exit at once while modules are imported. There is nothing to save yet, and a
    # KeyboardInterrupt might be caught by one of the modules.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from workers.supervision.launch import launch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return launch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
