import builtins

import pytest

from workers.records.run_folder import RunFolder
from workers.records.tracking import Tracker, TrackingError


def test_without_wandb_it_says_what_to_do(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_wandb(name, *arguments, **options):
        if name == "wandb":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_wandb)
    with pytest.raises(TrackingError, match="pip install wandb"):
        Tracker(RunFolder(tmp_path), project="a3c", entity=None, description={})
