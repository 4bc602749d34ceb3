"""Train an agent: `python main.py --env-name Pong-v0 --num-processes 16`."""

import os
import signal
import sys


def main() -> int:
    """Train as the command line says; return the exit code."""
    # Exit at once while modules are imported. There is nothing to save yet, and a
    # KeyboardInterrupt might be caught by one of the modules.
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from workers.output import open_missing_streams
    from workers.process import limit_threads

    open_missing_streams()
    limit_threads()  # before numeric libraries are imported
    from workers.supervision.launch import launch

    signal.signal(signal.SIGINT, before)
    return launch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
