"""What an error says to a user, in one line."""

from envs.reasons import place, reason
from workers.records.faults import sentence


def words(problem: Exception) -> str:
    """Return what an error says: the system's with its fix, one of a user's code with its place."""
    if isinstance(problem, OSError):
        return sentence(problem)
    return f"{reason(problem)}{place(problem)}"
