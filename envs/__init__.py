"""The world: environments by id, Atari and control preprocessing, normalisers, video, toy tasks with a known optimum.

Public names, imported from their modules so that importing the package costs nothing:
`envs.ids`: resolve, ResolvedId, EnvironmentProblem; `envs.make`: make, check_spaces, frames_per_second, default_gl;
`envs.batch`: EnvironmentBatch; `envs.normaliser`: SharedNormaliser; `envs.video`: VideoWriter;
`envs.toys`: registers the toys when imported.
"""
