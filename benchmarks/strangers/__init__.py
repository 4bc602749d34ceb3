"""Environments of strangers: each trains right, or is refused in one sentence."""
