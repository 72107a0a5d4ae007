"""Numbers of things on the command line: 250000, 250_000, 2.5e5."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token, validators

__all__ = ["Count"]


def _whole_number(_: object, tokens: Sequence[Token]) -> int:
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not number.is_integer():
        raise ValueError(f"{text!r} is no whole number")
    return int(number)


Count = Annotated[int, Parameter(converter=_whole_number, validator=validators.Number(gte=1))]
