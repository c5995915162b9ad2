"""The exceptions whose message is one line for who called a tool."""


class InputError(ValueError):
    """Bad input. Its message is one line: the value, what was expected and the remedy.

    The command line tools print the message on standard error and exit with status 2.
    """


class StoppedError(RuntimeError):
    """A correct run that cannot continue, in one line, with an exit status.

    Status 1 where something failed that somebody must mend, such as a full disk; 143 where the run
    was terminated (SIGTERM), and the same command resumes.
    """

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


def reason(error: BaseException, limit: int = 240) -> str:
    """The message of an exception in one line; its name where it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} ... {text[-half:]}"
