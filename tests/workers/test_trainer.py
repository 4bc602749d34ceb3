"""The order of a worker's calls, on tape."""

import dataclasses
import math
import multiprocessing
import threading

import pytest
import torch

from envs.normaliser import SharedNormaliser
from shared_optim.exchange import BarrierMemory
from shared_optim.memory import SharedTensor
from workers.exact import SharedMemory
from workers.progress import SUMS, ProgressTable
from workers.settings.flags import parse
from workers.settings.recipes import Spaces, build_algorithm, build_model, optimizer_statistics_size
from workers.trainer import MAX_BAD_SEGMENTS, Task, Trainer

SPACES = Spaces(observation_shape=(3,), observation="vector", num_actions=3)


@pytest.fixture
def task(tmp_path) -> Task:
    line = parse(
        ["--env-name", "envs.toys:Bandit-v0", "--num-processes", "2", "--num-env-steps", "60"]
    )
    context = multiprocessing.get_context("spawn")
    num_parameters = sum(
        parameter.numel() for parameter in build_model(line.config, SPACES).parameters()
    )
    memory = SharedMemory(
        parameters=SharedTensor(num_parameters, dtype=torch.float32, context=context),
        statistics=SharedTensor(
            optimizer_statistics_size(line.config, num_parameters),
            dtype=torch.float32,
            context=context,
        ),
        normaliser=SharedTensor(
            2, SharedNormaliser.row_size(3), dtype=torch.float64, context=context
        ),
        returns=SharedTensor(2, SharedNormaliser.row_size(1), dtype=torch.float64, context=context),
        progress=ProgressTable(2, context=context),
        barrier=None,
    )
    memory.parameters.tensor.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    return Task(
        config=line.config,
        environment=line.environment,
        spaces=SPACES,
        memory=memory,
        worker=1,
        stream=(0, 0),
        log_path=str(tmp_path / "log.txt"),
    )


def make_trainer(task: Task) -> Trainer:
    return Trainer(task, send=lambda report: None)


def record(trainer: Trainer, monkeypatch) -> list[str]:
    tape: list[str] = []
    for owner, name in (
        (trainer._exchange, "pull"),
        (trainer._exchange, "push"),
        (trainer._actor, "play"),
        (trainer._parameters, "gradient"),
    ):
        original = getattr(owner, name)

        def taped(*arguments, original=original, name=name, **options):
            tape.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, taped)
    return tape


def test_pull_then_play_differentiate_push_pull_until_finished(task, monkeypatch):
    trainer = make_trainer(task)
    tape = record(trainer, monkeypatch)
    trainer.run()
    assert tape == ["pull", *3 * ["play", "gradient", "push", "pull"]]
    progress = task.memory.progress
    assert progress.column("steps").tolist() == [0, 60]
    assert progress.column("updates").tolist() == [0, 3]
    torch.testing.assert_close(trainer._parameters.vector, task.memory.parameters.tensor)


def test_batches_after_the_algorithms_end_are_left_out(task, monkeypatch):
    config = dataclasses.replace(task.config, algo="ppo", ppo_epoch=4, num_mini_batch=1)
    trainer = make_trainer(dataclasses.replace(task, config=config))
    answers = iter([False, False, True] * 3)
    monkeypatch.setattr(type(trainer._algorithm), "ends", lambda *_: next(answers))
    tape = record(trainer, monkeypatch)
    trainer.run()
    assert tape == ["pull", *3 * ["play", *2 * ["gradient", "push", "pull"], "gradient"]]


def test_policy_lag_counts_the_updates_of_others_between_pull_and_push(task, monkeypatch):
    trainer = make_trainer(task)
    play = trainer._actor.play

    def play_while_others_update():
        task.memory.progress.column("updates")[0] += 5
        return play()

    monkeypatch.setattr(trainer._actor, "play", play_while_others_update)
    trainer.run()
    assert task.memory.progress.column("policy_lag_sum").tolist() == [0, 15]
    assert task.memory.progress.next_window() == 5
    assert task.memory.progress.next_window() == 0


def test_the_learning_rate_falls_to_zero_with_the_steps(task):
    config = dataclasses.replace(task.config, use_linear_lr_decay=True, lr=1.0)
    trainer = make_trainer(dataclasses.replace(task, config=config))
    assert trainer._learning_rate() == 1.0
    task.memory.progress.column("steps")[0] = 45
    assert not trainer._finished()
    assert trainer._learning_rate() == pytest.approx(0.25)


def test_the_critics_own_updates_have_a_learning_rate_of_their_own(task):
    config = dataclasses.replace(task.config, lr=1.0, value_lr=0.5)
    trainer = make_trainer(dataclasses.replace(task, config=config))
    assert (trainer._learning_rate(), trainer._learning_rate(critic_only=True)) == (1.0, 0.5)


def test_every_algorithm_normalises_advantages_where_the_flag_says_so():
    for algo, default in (("a3c", False), ("ppo", True), ("acktr", False)):
        words = ["--env-name", "CartPole-v1", "--preset", "none", "--algo", algo]
        for more, expected in (
            ([], default),
            (["--normalize-advantages"], True),
            (["--no-normalize-advantages"], False),
        ):
            assert build_algorithm(parse([*words, *more]).config).normalize_advantages == expected


def test_gradients_that_are_not_finite_are_dropped_and_too_many_segments_of_them_end_the_worker(
    task,
):
    trainer = make_trainer(task)
    trainer._pull()
    before = task.memory.parameters.tensor.clone()
    for value in ("nan", "inf"):
        assert not trainer._push(torch.full_like(before, float(value)), {})
    torch.testing.assert_close(task.memory.parameters.tensor, before)
    assert task.memory.progress.total("dropped_gradients") == 2
    assert task.memory.progress.total("updates") == 0
    sound = trainer._actor.play()
    broken = dataclasses.replace(sound, rewards=torch.full_like(sound.rewards, math.nan))
    for segment, most in (
        (broken, MAX_BAD_SEGMENTS),
        (sound, 2 * MAX_BAD_SEGMENTS),
    ):  # others' may be broken
        trainer._judge(segment, True)
        for _ in range(most - 1):
            trainer._judge(segment, False)
        with pytest.raises(FloatingPointError, match="not finite"):
            trainer._judge(segment, False)


def test_at_a_barrier_every_step_counts_alike_however_long_a_workers_segments_are(task):
    P = task.memory.parameters.tensor.numel()
    barrier = BarrierMemory.create(2, P, context=multiprocessing.get_context("spawn"))
    config = dataclasses.replace(task.config, exchange="barrier", distributed_step_size=(2, 6))
    memory, means = dataclasses.replace(task.memory, barrier=barrier), {}

    def life(worker: int) -> None:
        trainer = make_trainer(
            dataclasses.replace(task, config=config, memory=memory, worker=worker)
        )
        means[worker] = float(trainer._average(torch.tensor([1.0 - worker])))
        assert trainer._push(torch.full((P,), 1.0 - worker), {})

    threads = [threading.Thread(target=life, args=(worker,), daemon=True) for worker in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert means == {0: 0.25, 1: 0.25}
    norms = task.memory.progress.sums[:, SUMS.index("grad_norm")]
    assert norms.tolist() == pytest.approx(2 * [0.25 * math.sqrt(P)])


def test_segments_of_whole_episodes_count_by_their_lengths(task):
    P = task.memory.parameters.tensor.numel()
    barrier = BarrierMemory.create(2, P, context=multiprocessing.get_context("spawn"))
    config = dataclasses.replace(task.config, exchange="barrier", whole_episodes=True)
    memory, shares = dataclasses.replace(task.memory, barrier=barrier), {}

    def life(worker: int) -> None:
        trainer = make_trainer(
            dataclasses.replace(task, config=config, memory=memory, worker=worker)
        )
        shares[worker] = trainer._share(trainer._actor.play().first(2 + 4 * worker))

    threads = [threading.Thread(target=life, args=(worker,), daemon=True) for worker in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert shares == {0: 0.5, 1: 1.5}


def test_each_segment_of_whole_episodes_is_weighed(task, monkeypatch):
    trainer = make_trainer(
        dataclasses.replace(task, config=dataclasses.replace(task.config, whole_episodes=True))
    )
    monkeypatch.setattr(trainer, "_share", lambda segment: len(segment.rewards) / 40)
    norms = []
    monkeypatch.setattr(
        trainer._exchange,
        "push",
        lambda gradient, **_: norms.append(float(gradient.norm())) or norms[-1],
    )
    monkeypatch.setattr(trainer, "_differentiate", lambda batch: (torch.ones(4), {}, ()))
    trainer.run()
    lengths = trainer._row._counters[0] / len(norms)
    assert norms == pytest.approx([2 * lengths / 40] * len(norms))


def test_workers_draw_different_numbers_and_the_same_ones_again(task):
    def actions(worker: int, stream: tuple[int, ...]) -> list[int]:
        return (
            make_trainer(dataclasses.replace(task, worker=worker, stream=stream))
            ._actor.play()
            .actions.flatten()
            .tolist()
        )

    assert actions(0, (0, 0)) == actions(0, (0, 0))
    assert actions(0, (0, 0)) != actions(1, (0, 0))
    assert actions(0, (0, 0)) != actions(0, (0, 1))
