"""`python -m a3c` is main.py, and `python -m a3c enjoy` is enjoy.py.

This file stands beside main.py, above all folders; nothing imports it.
"""

import sys
from pathlib import Path


def enter() -> int:
    """Train, or play if the first word is `enjoy`; return the exit code."""
    root = str(Path(__file__).absolute().parents[1])
    if not sys.flags.safe_path:
        del sys.path[0]  # -m puts the working folder there, whose files would hide modules
    if root not in sys.path:
        sys.path.insert(0, root)
    if sys.argv[1:2] == ["enjoy"]:
        import enjoy

        del sys.argv[1]
        return enjoy.main()
    import main

    return main.main()


if __name__ == "__main__":
    sys.exit(enter())
