"""What can be wrong with settings. Each message is one sentence that is shown as it stands."""


class UsageError(Exception):
    """A mistake on the command line."""


class OtherVersion(Exception):
    """A saved configuration that this version does not understand."""
