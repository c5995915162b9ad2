"""The one exception for input that cannot be used."""


class InputError(ValueError):
    """Bad input. Its message is one line: the value, what was expected and the remedy.

    The command line tools print the message on standard error and exit with status 2.
    """
