"""Flags that do not go together."""

import pytest

from workers.settings.errors import UsageError
from workers.settings.flags import parse


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--algo acktr --optimizer adam", "acktr does not go with --optimizer adam"),
        ("--algo a2c --optimizer kfac", "a2c does not go with --optimizer kfac"),
        ("--algo acktr --network impala", "leave that out"),
        ("--algo acktr --auxiliary-heads a:b", "does not see those of --auxiliary-heads"),
        ("--algo acktr --exchange hogwild", "leave --exchange hogwild out"),
        (
            "--algo acktr --value-damping 0.1",
            "--value-damping needs --value-kl-clip or --value-updates",
        ),
        (
            "--algo acktr --value-kl-clip 0.1 --value-lr 0.1",
            "--value-lr needs --value-updates",
        ),
        (
            "--preset authors --env-name HalfCheetah-v4",
            "--preset authors is for --algo acktr and bodies",
        ),
        (
            "--preset authors --algo acktr --env-name CartPole-v1",
            "--preset authors is for --algo acktr and bodies",
        ),
        ("--algo acktr --distributed-step-size 5 20", "leave --distributed-step-size out"),
        ("--algo acktr --whole-episodes", "--whole-episodes needs --envs-per-process 1"),
        (
            "--algo acktr --whole-episodes --envs-per-process 1 --recurrent gru",
            "use --no-whole-episodes",
        ),
    ],
)
def test_what_does_not_go_with_acktr_is_refused(words, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse(["--env-name", "CartPole-v1", *words.split()])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "--envs-per-process 1 --num-steps 5 --num-mini-batch 6",
            "more than the 5 steps, that a worker's segment has; use at most 5",
        ),
        (
            "--recurrent-policy --num-processes 3 --envs-per-process 2 --num-mini-batch 7",
            "more than the 6 sequences, one an environment, that all workers' segments have",
        ),
        (
            "--recurrent-policy --num-processes 3 --envs-per-process 2 --num-mini-batch 3 "
            "--exchange hogwild",
            "more than the 2 sequences, one an environment, that a worker's segment has",
        ),
        (
            "--recurrent-policy --num-processes 3 --envs-per-process 1 --num-mini-batch 3 "
            "--whole-episodes",
            "more than the 1 sequences",
        ),
    ],
)
def test_ppo_has_no_more_minibatches_than_a_segment_has_pieces(words, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse(["--env-name", "CartPole-v1", "--algo", "ppo", *words.split()])
