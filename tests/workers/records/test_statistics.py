"""The table of statistics gives every file and the status line what they have always had."""

import pytest

from workers.progress import CARRIED_COUNTERS, COUNTERS, SUMS
from workers.records.evaluation import Evaluation
from workers.records.statistics import (
    LIVE,
    METRICS,
    STATISTICS,
    STATUS,
    Progress,
    evaluation_row,
    live_numbers,
    metrics_row,
    status_fields,
)

COLUMNS = """
    rollout/ep_rew_mean rollout/ep_len_mean time/fps time/total_timesteps time/time_elapsed
    train/n_updates train/policy_loss train/value_loss train/entropy_loss train/approx_kl
    train/clip_fraction train/explained_variance train/grad_norm train/learning_rate
    train/failed_inversions eval/mean_reward eval/mean_ep_length async/policy_lag_mean
    async/policy_lag_max async/updates_per_sec async/pull_ms async/push_ms async/dropped_nonfinite
    workers/alive workers/restarts workers/steps_min workers/steps_max rollout/faulty_episodes
"""
AT_START = {
    "state": "starting",
    "steps": 0,
    "updates": 0,
    "episodes": 0,
    "seconds": 0.0,
    "steps_per_second": 0.0,
    "train_return_mean": None,
    "eval_return_mean": None,
    "eval_steps": None,
    "best_eval_return_mean": None,
    "workers_alive": 0,
    "restarts": 0,
    "dropped_gradients": 0,
    "failed_inversions": 0,
    "faulty_episodes": 0,
    "exit_code": None,
}


def some_progress(**changes: object) -> Progress:
    known: dict[str, object] = {
        "counters": dict.fromkeys(COUNTERS, 7),
        "means": dict.fromkeys((*SUMS, "policy_lag_sum"), 2.0),
        "steps_by_worker": [3, 4],
        "policy_lag_max": 5,
        "seconds": 1.23456,
        "steps_per_second": 67.89,
        "recent": [(1.0, 10), (2.0, 20)],
        "evaluation": Evaluation(steps=6, returns=(1.0, 5.0), lengths=(2, 3)),
        "workers_alive": 2,
    }
    return Progress(**(known | changes))  # type: ignore[arg-type]


def test_the_columns_of_metrics_csv_stay() -> None:
    assert list(METRICS) == COLUMNS.split()


def test_the_fields_of_status_json_stay_in_their_order() -> None:
    assert list(STATUS.items()) == list(AT_START.items())


def test_names_are_used_once() -> None:
    assert len({row.name for row in STATISTICS}) == len(STATISTICS)
    assert len(set(METRICS)) == len(METRICS)


def test_counters_of_earlier_checkpoints_keep_their_places() -> None:
    first = "steps contributions updates episodes segments dropped_gradients heartbeat"
    then = "policy_lag_sum policy_lag_max policy_lag_window failed_inversions"
    assert list(COUNTERS[:11]) == f"{first} {then}".split()
    carried = "steps contributions updates episodes segments dropped_gradients failed_inversions"
    assert list(CARRIED_COUNTERS[:7]) == carried.split()


def test_a_row_of_metrics() -> None:
    row = metrics_row(some_progress())
    assert list(row) == [name for name in METRICS if not name.startswith("eval/")]
    assert row["rollout/ep_rew_mean"] == 1.5
    assert row["rollout/ep_len_mean"] == 15
    assert row["time/total_timesteps"] == 7
    assert row["time/fps"] == 67.89
    assert row["train/entropy_loss"] == -2.0
    assert row["async/push_ms"] == 2000.0
    assert row["async/policy_lag_mean"] == 2.0
    assert (row["workers/steps_min"], row["workers/steps_max"]) == (3, 4)


def test_an_evaluations_own_row() -> None:
    evaluation = Evaluation(steps=6, returns=(1.0, 5.0), lengths=(2, 3))
    assert evaluation_row(evaluation, seconds=1.5, updates=4) == {
        "time/total_timesteps": 6,
        "time/time_elapsed": 1.5,
        "train/n_updates": 4,
        "eval/mean_reward": 3.0,
        "eval/mean_ep_length": 2.5,
    }


def test_numbers_that_an_algorithm_does_not_have_are_unknown() -> None:
    means = dict.fromkeys((*SUMS, "policy_lag_sum"), 0.0)
    row = metrics_row(some_progress(means=means, recent=[], evaluation=None))
    for name in (
        "train/approx_kl",
        "train/clip_fraction",
        "train/explained_variance",
        "rollout/ep_rew_mean",
    ):
        assert row[name] is None


@pytest.mark.parametrize(("square_error", "expected"), [(0.0, 0.75), (2.0, 0.5)])
def test_explained_variance(square_error: float, expected: float) -> None:
    means = dict.fromkeys(SUMS, 0.0) | {"return_mean": 1.0, "return_square_mean": 5.0}
    means |= {"value_loss": 1.0, "square_error": square_error, "policy_lag_sum": 0.0}
    row = metrics_row(some_progress(means=means))
    assert row["train/explained_variance"] == pytest.approx(expected)


def test_status_is_rounded() -> None:
    status = status_fields(some_progress())
    assert (status["seconds"], status["steps_per_second"]) == (1.235, 67.9)
    assert (status["eval_return_mean"], status["eval_steps"]) == (3.0, 6)


def test_the_status_line_shows_returns_and_lag() -> None:
    assert [row.name for row in LIVE] == ["train_return_mean", "eval_return_mean", "policy_lag"]
    assert live_numbers(some_progress())["policy_lag"] == 2.0
    assert live_numbers(Progress()) == dict.fromkeys(live_numbers(Progress()))
