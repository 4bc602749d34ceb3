"""One run a folder: the lock of a run folder, which the system takes away with the process, however it ends."""

import sys
from typing import TextIO

from workers.records.run_folder import RunFolder, RunFolderError


def hold(folder: RunFolder) -> TextIO:
    """Locks the folder until the file that is returned is closed. RunFolderError if a living run holds it."""
    file = open(folder.path / ".lock", "w")  # noqa: SIM115 - the lock lives as long as the file is open
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFolderError(
                f"The run in {str(folder.path)!r} is still going; stop it before you go on with it."
            ) from error
        except OSError:
            return file  # a file system without locks
    return file
