"""What the workers tell the main process, beside their last words."""

from collections.abc import Callable

from workers.messages import Message, Refused, Warned
from workers.resume import NewEpisodes, Report, Reports


class Mailbox:
    """Takes the workers' messages: keeps reports, says warnings once for all workers."""

    def __init__(
        self, reports: Reports, *, warn: Callable[[str], None], log: Callable[[str], None]
    ) -> None:
        self.refused = ""  # why no worker can train, once one has found it out
        self._reports, self._warn, self._log = reports, warn, log
        self._said: set[type[Message]] = set()

    def take(self, worker: int, message: Message) -> None:
        """Take a message of a worker."""
        match message:
            case Report():
                self._reports.add(worker, message)
            case Refused():
                self.refused = message.sentence
            case NewEpisodes():
                self._say(message, f"the resumed run begins new episodes: {message.problem}")
            case Warned():
                self._say(message, f"worker {worker}: {message.line}")

    def _say(self, message: Message, line: str) -> None:
        """Print the first message of its kind; the log has the others."""
        say = self._log if type(message) in self._said else self._warn
        self._said.add(type(message))
        say(line)
