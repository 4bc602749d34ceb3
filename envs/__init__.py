"""Environments by id: preprocessing, normalisers, video, and toy tasks with a known optimum.

Importing the package costs nothing; each public name is imported from its module:
`envs.ids`: resolve, ResolvedId, EnvironmentProblem; `envs.batch`: EnvironmentBatch;
`envs.make`: make, check_spaces, frames_per_second; `envs.physics`: default_gl, quieten_mujoco;
`envs.normaliser`: SharedNormaliser, RewardScale; `envs.video`: VideoWriter;
`envs.toys`: registers the toy tasks when it is imported.

A new family of environments is one row in `envs.ids.ENTRY_POINTS` (how its ids are recognised)
and one row in `envs.families.FAMILIES` (how its environments are made).
"""
