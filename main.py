"""Trains an agent: `python main.py --env-name Pong-v0 --num-processes 16`."""

import sys

from workers.process import limit_threads


def main() -> int:
    """Trains as the command line says; returns the exit code."""
    limit_threads()
    try:
        from workers.launch import launch
    except KeyboardInterrupt:
        return 130  # nothing has begun

    return launch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
