"""The exception for what a user can mend."""

__all__ = ["InputError", "UnfinishedError"]


class InputError(ValueError):
    """Input that breaks a rule: a file, a flag value or a folder.

    The message is one line a user can act on: where, the rule, and what was found. Entry points print it without a
    traceback and exit with status 1 (`data_prep.command.run`).

    Attributes:
        rule: What was expected and what was found, without the place; never holds patient data, so that it may be
            written into a manifest.
        where: The file, flag or folder, or "" where the rule names it.
        exit_status: Of the command that it ends.
    """

    exit_status = 1

    def __init__(self, rule: str, where: object = "") -> None:
        self.rule = rule
        self.where = str(where)
        super().__init__(f"{self.where}: {rule}" if self.where else rule)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Worker processes send their exceptions home by pickle, which would otherwise pass the joined message as rule.
        return type(self), (self.rule, self.where)


class UnfinishedError(InputError):
    """What stopped a run from outside: a full disk, a worker that was ended, Ctrl-C. The same command can finish it."""
