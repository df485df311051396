"""Why a process ends before it serves."""


class StartError(Exception):
    """The process cannot start. The text says why and what to do; the exit status is 1.

    Wrong settings are ConfigurationError (settings/sources.py), whose exit status is 2 unless master(8) is the parent.
    """
