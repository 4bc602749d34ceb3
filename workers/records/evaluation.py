"""An evaluation, and evaluations.npz, which holds all of them as Stable-Baselines3 writes it."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.records.atomic import replacing


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Whole episodes played by one policy: raw returns [N], and lengths [N] in agent steps.

    The return of an episode in which the environment gave a faulty number is NaN.
    """

    steps: int  # environment steps that the policy had been trained for
    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def sound(self) -> tuple[float, ...]:
        """The returns of the episodes without a fault."""
        return tuple(return_ for return_ in self.returns if not math.isnan(return_))

    @property
    def mean(self) -> float:
        """Mean of the sound returns, NaN without any; each weighs the same, however long."""
        return float(np.mean(self.sound)) if self.sound else math.nan

    @property
    def std(self) -> float:
        """Standard deviation of the sound returns; NaN without any."""
        return float(np.std(self.sound)) if self.sound else math.nan

    @property
    def mean_length(self) -> float:
        """Mean length in agent steps."""
        return float(np.mean(self.lengths))


def read_evaluations(path: Path) -> list[Evaluation]:
    """Read evaluations.npz; return [] if there is no file. OSError, also if it is damaged."""
    if not path.exists():
        return []
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            rows = zip(file["timesteps"], file["results"], file["ep_lengths"], strict=True)
            return [_unpadded(int(steps), returns, lengths) for steps, returns, lengths in rows]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OSError(f"{path.name} is damaged") from error


def write_evaluations(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Replace evaluations.npz: timesteps [K], results [K, N], ep_lengths [K, N]. OSError.

    Rows with fewer than N episodes are padded by NaN.
    """
    most = max((len(evaluation.returns) for evaluation in evaluations), default=0)
    results = np.full((len(evaluations), most), np.nan)
    ep_lengths = np.full((len(evaluations), most), np.nan)
    for index, evaluation in enumerate(evaluations):
        results[index, : len(evaluation.returns)] = evaluation.returns
        ep_lengths[index, : len(evaluation.lengths)] = evaluation.lengths
    steps = [evaluation.steps for evaluation in evaluations]
    padded = np.isnan(ep_lengths).any()
    buffer = io.BytesIO()
    np.savez(
        buffer,
        timesteps=np.array(steps, dtype=np.int64),
        results=results,
        ep_lengths=ep_lengths if padded else ep_lengths.astype(np.int64),
    )
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def _unpadded(steps: int, returns: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> Evaluation:
    played = ~np.isnan(lengths)
    return Evaluation(
        steps=steps,
        returns=tuple(returns[played].tolist()),
        lengths=tuple(lengths[played].astype(int).tolist()),
    )
