import time

import pytest

from tests.shared_optim.teams import Team, run


def test_nobody_leaves_a_meeting_before_everybody_has_arrived():
    team, contributed, seen = Team(3, 1), [[] for _ in range(3)], []

    def life(number: int) -> None:
        rendezvous = team.rendezvous(number, patient=number == 0)
        for meeting in range(30):
            if (meeting + number) % 7 == 0:
                time.sleep(0.002)
            rendezvous.meet(lambda meeting=meeting: contributed[number].append(meeting))
            seen.append((meeting, min(len(own) for own in contributed)))

    run(*(lambda number=number: life(number) for number in range(3)))
    assert contributed == 3 * [[*range(30)]]
    assert len(seen) == 90 and all(least > meeting for meeting, least in seen)


def test_who_waits_beats():
    team = Team(2, 1)

    def late() -> None:
        time.sleep(0.3)
        team.rendezvous(0).meet()

    run(late, lambda: team.rendezvous(1).meet())
    assert team.beats[1] > 0


def test_one_worker_alone_waits_for_nobody():
    team, contributed = Team(1, 1), []
    rendezvous = team.rendezvous(0)
    for meeting in range(3):
        assert rendezvous.position == meeting
        rendezvous.meet(lambda: contributed.append(1))
    assert len(contributed) == 3 and team.beats == [0]


def test_the_first_worker_of_its_number_is_neither_lost_nor_catching_up():
    rendezvous = Team(1, 1).rendezvous(0)
    for _ in range(3):
        assert not rendezvous.lost and not rendezvous.catching_up
        rendezvous.meet()
        rendezvous.begin_round()


@pytest.mark.parametrize("died_after", [0, 1, 2, 3])
def test_a_replacement_passes_through_the_meetings_at_which_its_predecessor_had_arrived(died_after):
    """It contributes nothing there, and is lost until the last of them."""
    team = Team(1, 1)
    predecessor = team.rendezvous(0)
    for _ in range(2):
        predecessor.meet()
    predecessor.begin_round()
    for _ in range(died_after):
        predecessor.meet()

    replacement, contributed = team.rendezvous(0), []
    assert replacement.position == 2
    for meeting in range(4):
        assert replacement.catching_up == (meeting < died_after)
        assert replacement.lost == (meeting + 1 < died_after)
        replacement.meet(lambda meeting=meeting: contributed.append(meeting))
    assert contributed == [*range(died_after, 4)]


def test_others_wait_for_a_replacement_at_its_first_meeting_of_its_own():
    team, order = Team(2, 1), []

    def other() -> None:
        rendezvous = team.rendezvous(0)
        for meeting in range(3):
            rendezvous.meet()
            order.append(meeting)

    def died_and_replaced() -> None:
        team.rendezvous(1).meet()
        time.sleep(0.2)
        assert order == [0]
        replacement = team.rendezvous(1)
        for _ in range(3):
            replacement.meet()

    run(other, died_and_replaced)
    assert order == [0, 1, 2]
