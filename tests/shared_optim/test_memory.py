"""Shared memory says what does not fit, and where."""

import multiprocessing
import shutil

import pytest
import torch

from shared_optim.memory import RESERVE, SharedTensor


@pytest.mark.parametrize(
    ("num_floats", "needed"), [(1, "1 KB"), (300, "2 KB"), (2**18 + 1, "2 MB")]
)
def test_what_does_not_fit_is_never_0_mb(monkeypatch, num_floats, needed):
    nearly_full = shutil._ntuple_diskusage(2**20, 2**20 - RESERVE, RESERVE)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nearly_full)
    with pytest.raises(OSError, match=rf"^{needed} of shared memory .*64 KB free.*--shm-size=1g"):
        SharedTensor(num_floats, dtype=torch.float32, context=multiprocessing.get_context("spawn"))
