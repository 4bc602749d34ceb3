"""Shared memory: flat parameters, optimizers whose statistics all processes move, exchanges. Knows no reinforcement learning."""
