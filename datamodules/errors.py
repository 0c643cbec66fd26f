"""The one exception for mistakes a user can mend."""


class UserError(Exception):
    """A mistake of the user.

    The message is one line that names the value, what is wrong with it and the mend. The command line prints it without
    a traceback and exits with status 2.
    """
