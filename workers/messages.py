"""What a worker tells the main process while it lives."""

from dataclasses import dataclass

from workers.resume import NewEpisodes, Report


@dataclass(frozen=True)
class Warned:
    """Something that the user must know; one line. Training goes on."""

    line: str


@dataclass(frozen=True)
class Refused:
    """Why no worker can train in this environment; one sentence. The run ends."""

    sentence: str


Message = Report | NewEpisodes | Warned | Refused
