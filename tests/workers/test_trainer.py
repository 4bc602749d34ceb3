"""The order of a worker's calls, on tape."""

import dataclasses
import threading

import numpy as np
import pytest
import torch

from a3c.segment import Segment
from tests.workers.tasks import bandit_task, make_trainer, together
from workers.actor import Actor
from workers.messages import Warned
from workers.progress import ProgressTable
from workers.resume import NewEpisodes, pack, unpack
from workers.trainer import Trainer
from workers.worker import Task, build_trainer


@pytest.fixture
def task(tmp_path) -> Task:
    return bandit_task(tmp_path)


class Tape:
    """Writes down the names of calls that are made."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def watch(self, owner: object, *names: str) -> None:
        for name in names:
            setattr(owner, name, self._taped(name, getattr(owner, name)))

    def _taped(self, name, original):
        def taped(*arguments, **options):
            self.names.append(name)
            return original(*arguments, **options)

        return taped


def taped(trainer: Trainer) -> list[str]:
    tape = Tape()
    tape.watch(trainer.learner.exchange, "pull", "push")
    tape.watch(trainer.learner.parameters, "gradient")
    tape.watch(trainer.actor, "play")
    return tape.names


class Answering:
    """An algorithm's batches, with given answers to whether they end."""

    def __init__(self, algorithm, answers) -> None:
        self.batches, self.loss = algorithm.batches, algorithm.loss
        self._answers = iter(answers)

    def ends(self, statistics, average):
        return next(self._answers)


class BesideOthers:
    """An actor; while it plays another worker makes updates."""

    def __init__(self, actor: Actor, progress: ProgressTable, *, updates: int) -> None:
        self._actor, self._progress, self._updates = actor, progress, updates
        self.environments = actor.environments

    def play(self) -> Segment:
        self._progress.column("updates")[0] += self._updates
        return self._actor.play()


def test_pull_then_play_differentiate_push_pull_until_finished(task):
    trainer = make_trainer(task)
    tape = taped(trainer)
    trainer.run()
    assert tape == ["pull", *3 * ["play", "gradient", "push", "pull"]]
    progress = task.memory.progress
    assert progress.column("steps").tolist() == [0, 60]
    assert progress.column("updates").tolist() == [0, 3]
    assert progress.column("segments").tolist() == [0, 3]
    torch.testing.assert_close(trainer.learner.parameters.vector, task.memory.parameters.tensor)


def test_a_segment_is_prepared_before_it_is_learned_from_and_closed_after(task):
    trainer = make_trainer(task)
    tape = Tape()
    tape.watch(trainer, "finished", "prepare", "close")
    tape.watch(trainer.actor, "play")
    tape.watch(trainer.learner, "pull", "gradient", "push")
    tape.watch(trainer.learner.exchange, "begin_round")
    trainer.run()
    learning = ["gradient", "push", "pull"]
    round_ = ["finished", "play", "prepare", *learning, "close", "begin_round"]
    assert tape.names == ["pull", *3 * round_, "finished"]


def test_batches_after_the_algorithms_end_are_left_out(task):
    config = dataclasses.replace(task.config, algo="ppo", ppo_epoch=4, num_mini_batch=1)
    trainer = make_trainer(dataclasses.replace(task, config=config))
    trainer.algorithm = Answering(trainer.algorithm, [False, False, True] * 3)
    tape = taped(trainer)
    trainer.run()
    assert tape == ["pull", *3 * ["play", *2 * ["gradient", "push", "pull"], "gradient"]]


def test_policy_lag_counts_the_updates_of_others_between_pull_and_push(task):
    trainer, progress = make_trainer(task), task.memory.progress
    trainer.actor = BesideOthers(trainer.actor, progress, updates=5)
    trainer.run()
    assert progress.column("policy_lag_sum").tolist() == [0, 15]
    assert progress.next_window() == 5
    assert progress.next_window() == 0


def test_the_learning_rate_falls_to_zero_with_the_steps(task):
    config = dataclasses.replace(task.config, use_linear_lr_decay=True, lr=1.0)
    trainer = make_trainer(dataclasses.replace(task, config=config))
    learning_rate = trainer.learner.learning_rate
    assert learning_rate() == 1.0
    task.memory.progress.column("steps")[0] = 45
    assert not trainer.finished()
    assert learning_rate() == pytest.approx(0.25)


def test_a_run_is_finished_after_its_steps_or_when_it_is_asked_to_stop(task):
    trainer, progress = make_trainer(task), task.memory.progress
    progress.column("steps")[0] = 59
    assert not trainer.finished()
    progress.column("steps")[0] = 60
    assert trainer.finished()
    progress.column("steps")[0] = 0
    progress.stop()
    assert trainer.finished()


def test_preparations_are_made_in_order(task):
    trainer = make_trainer(task)

    def add(segment: Segment) -> Segment:
        return dataclasses.replace(segment, weight=segment.weight + 1)

    def double(segment: Segment) -> Segment:
        return dataclasses.replace(segment, weight=segment.weight * 2)

    trainer.preparations = [add, double]
    segment = trainer.actor.play()
    assert trainer.prepare(segment).weight == (segment.weight + 1) * 2


def test_workers_at_a_barrier_report_when_asked_and_at_the_end(tmp_path):
    task = bandit_task(tmp_path, "--algo", "a2c")
    reports, both = {0: [], 1: []}, threading.Barrier(2)

    def life(trainer: Trainer) -> None:
        trainer.send = reports[trainer.worker].append
        trainer.finished()
        assert reports[trainer.worker] == []
        if trainer.worker == 0:  # the other worker reads it at the next meeting
            task.memory.progress.ask_for_reports()
        for _ in range(2):  # once is enough
            assert not trainer.finished()
            assert len(reports[trainer.worker]) == 1
        task.memory.progress.column("steps")[trainer.worker] = 30
        both.wait(30)
        assert trainer.finished()

    together(task, life)
    for worker, (asked, last) in reports.items():
        assert (asked.steps, last.steps) == (0, 60)
        assert (last.shared is not None) == (worker == 0)
        assert {*unpack(last.own)} == {"actor", "reward_scale", "learner", "random"}
    torch.testing.assert_close(
        unpack(reports[0][-1].shared)["parameters"], task.memory.parameters.tensor
    )


def test_a_worker_goes_on_where_its_state_was_taken(task):
    def next_actions(trainer: Trainer) -> list[int]:
        return trainer.actor.play().actions.flatten().tolist()

    trainer = make_trainer(task)
    trainer.actor.play()
    state = trainer.state()
    expected, numbers = next_actions(trainer), torch.rand(3)
    resumed = make_trainer(dataclasses.replace(task, state=pack(state)))
    torch.testing.assert_close(torch.rand(3), numbers, rtol=0.0, atol=0.0)
    assert next_actions(resumed) == expected
    del state["learner"]  # checkpoints of earlier versions have none
    resumed = make_trainer(dataclasses.replace(task, state=pack(state)))
    assert next_actions(resumed) == expected


def test_environments_that_a_state_does_not_fit_begin_new_episodes(task):
    trainer = make_trainer(task)
    trainer.actor.play()
    state = trainer.state()
    state["actor"]["environments"]["environments"]["layers"] = [["Other"]]
    before, _, _ = trainer.normaliser.state()
    sent: list[object] = []
    resumed = build_trainer(dataclasses.replace(task, state=pack(state)), send=sent.append)
    assert len(sent) == 1 and isinstance(sent[0], NewEpisodes)
    assert "consists of" in sent[0].problem
    count, _, _ = resumed.normaliser.state()
    assert count == before + task.config.envs_per_process
    assert resumed.actor.play().starts[0].all()


@pytest.mark.parametrize("algo", ["a3c", "ppo"])
def test_faulty_episodes_are_counted_told_once_and_spoil_nothing(tmp_path, algo):
    task = bandit_task(
        tmp_path,
        *("--env-name", "envs.toys:NaN-v0", "--env-kwargs", "p=0.1", "--algo", algo),
        *("--exchange", "hogwild", "--num-env-steps", "2000", "--scale-rewards"),
    )
    told = []
    trainer = build_trainer(task, send=told.append)
    trainer.run()
    progress = task.memory.progress
    assert progress.total("faulty_episodes") > 100
    assert progress.total("episodes") > 100
    assert progress.total("dropped_gradients") == 0
    assert [type(message) for message in told] == [Warned]
    assert "NaN-v0 gave" in told[0].line
    assert np.isfinite(progress.episodes[: progress.total("episodes")]).all()
    for statistics in (trainer.normaliser.state(), trainer.reward_scale.state()["sums"].numpy()):
        assert all(np.isfinite(numbers).all() for numbers in statistics)
    assert task.memory.parameters.tensor.isfinite().all()


def test_without_a_state_the_first_observations_are_in_the_statistics(task):
    trainer = build_trainer(task, send=lambda report: None)
    count, _, _ = trainer.normaliser.state()
    assert count == task.config.envs_per_process
    trainer.observe(torch.ones(4, 1, 3))
    count, _, _ = trainer.normaliser.state()
    assert count == task.config.envs_per_process + 4
