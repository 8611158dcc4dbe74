"""The base of every component: a frozen, named bag of parameters whose formula is its method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rddm.core.errors import SpecError


class Model(BaseModel):
    """A frozen set of parameters: unknown keys are refused, equal parameters compare equal.

    Raises:
        SpecError: a key is unknown or a value is out of range; every problem is listed with its path.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    if not TYPE_CHECKING:  # type checkers and editors then see the fields themselves

        def __init__(self, **parameters: Any) -> None:
            try:
                super().__init__(**parameters)
            except ValidationError as error:
                raise SpecError.from_pydantic(error, type(self).model_fields) from None


class Component(Model):
    """A part of a model or of its training, found by `name` within its kind.

    A subclass that says `kind: ClassVar[str] = "schedule"` opens a kind; its subclasses are the components of
    that kind and declare `name: Literal["..."] = "..."`, the name of their entry point in `rddm.<kind>s`.
    """

    kind: ClassVar[str]
    name: str

    @classmethod
    def shorthand(cls, value: object) -> object:
        """The table that a plain value stands for in a spec; a text is a name unless the kind says otherwise."""
        return {"name": value} if isinstance(value, str) else value
