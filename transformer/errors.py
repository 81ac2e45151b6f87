"""Errors that a user can act on: the scripts print them as one line, without a traceback."""


class UserError(Exception):
    """Something outside the code is wrong: a file, a work directory, a prompt, a machine."""


class ConfigError(UserError, ValueError):
    """A config field holds a value that cannot be used.

    Args:
      field: the field's full name without the leading `config.`, such as `model.width`.
      value: what it holds.
      accepted: what it may hold, as a phrase.
    """

    def __init__(self, field: str, value: object, accepted: str):
        super().__init__(f'config.{field}={value!r} cannot be used; accepted: {accepted}')
        self.field, self.value, self.accepted = field, value, accepted


class NotFiniteError(UserError):
    """The loss or the gradient became infinite or not a number."""
