"""Trains an agent: `python main.py --env-name Pong-v0 --num-processes 16`."""

import os
import signal
import sys

from workers.process import limit_threads


def main() -> int:
    """Trains as the command line says; returns the exit code."""
    limit_threads()
    # Nothing has begun that would have to be tidied, and who is being imported may swallow an exception.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from workers.supervision.launch import launch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return launch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
