"""How the program was started: hints to its user are commands that work in the same place."""

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from workers import __version__
from workers.process import ROOT

VERSION = f"a3c-trainer {__version__}"
_SCRIPTS = ("main.py", "enjoy.py")
_INSTALLED = ("a3c", "a3c-enjoy")  # the commands that setup.cfg names
_MODULE = "a3c.__main__"


@dataclass(frozen=True)
class Invocation:
    """The commands of training and of playing, to be typed where the user stands."""

    train: str
    play: str
    name: str  # of the program that was started, for its messages

    @classmethod
    def here(cls) -> "Invocation":
        """Return what this process was started by.

        It may be a script of the checkout, an installed command, `python -m a3c`, or a program of
        the user's that trains; for the last one the commands name the scripts in full.
        """
        script = Path(sys.argv[0])
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if spec is not None and spec.name == _MODULE:
            module = shlex.join([sys.orig_argv[0], "-m", "a3c"])
            return cls(module, f"{module} enjoy", "a3c")
        if script.name in _INSTALLED and script.is_file():
            train, play = (_typed(script.with_name(name)) for name in _INSTALLED)
            return cls(train, play, script.name)
        python, folder, name = sys.executable, Path(ROOT), "main.py"
        if script.name in _SCRIPTS and str(script.absolute().parent) == ROOT:
            python, folder, name = sys.orig_argv[0], script.parent, script.name
        train, play = (shlex.join([python, str(folder / name)]) for name in _SCRIPTS)
        return cls(train, play, name)


def _typed(command: Path) -> str:
    """Return the name alone if the shell finds this very command by it."""
    found = shutil.which(command.name)
    is_found = found is not None and Path(found).absolute() == command.absolute()
    return command.name if is_found else shlex.quote(str(command))
