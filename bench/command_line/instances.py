"""Parts of a configuration without the rest of it."""

from collections.abc import Mapping
from typing import Any

from bench.command_line.ending import causes
from datamodules.errors import UserError


def instance(base: type, name: str, part: str | Mapping[str, Any]) -> Any:
    """What a part of a configuration stands for.

    Args:
        base: A class, of which or of a subclass of which it is an instance.
        name: Of the part, for messages.
        part: The path or short name of the class, or these as `class_path` beside `init_args`.

    Raises:
        UserError: There is no such class, or it takes no such arguments.
    """
    import jsonargparse

    from bench.command_line.parser import deepest_reason

    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, name)
    try:
        return parser.instantiate_classes(parser.parse_object({name: part}))[name]
    except UserError:
        raise
    except Exception as error:
        mistakes = [cause for cause in causes(error) if isinstance(cause, UserError)]
        refusal = mistakes[-1] if mistakes else UserError(f"the {name} cannot be built: {deepest_reason(error)}")
        raise refusal from error
