"""The base of everything that is stored: frozen, strict pydantic models that refuse unknown fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema

__all__ = ["FunctionRef", "Model", "PathKey", "StatePath", "refers_to_functions"]


class Model(BaseModel):
    """A frozen record, checked strictly; collections inside are tuples, so nothing in it can change."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema with tuples that are given up at their first wrong item.

        An item of a few bytes that is wrong takes some kilobytes to describe: a file of a few megabytes could ask for
        gigabytes.
        """
        schema = handler(source)
        _stop_at_first_error(schema)
        return schema

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed, unchecked, and without what was worked out from the old ones.

        A list becomes a tuple.
        """
        copied = super().model_copy(update=_fixed(update) if update else None, deep=deep)
        if update:
            _leave_fields(copied)
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy with the same fields, which never change, and without what was worked out from them."""
        copied = self.__copy__()
        _leave_fields(copied)
        return copied

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """Make a record from its fields, unchecked; a list becomes a tuple."""
        return super().model_construct(_fields_set, **_fixed(values))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like a new record.

        Raises
        ------
        pydantic.ValidationError
            If a name is not a field or a value does not fit it.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return self.checked({**values, **changes})

    @classmethod
    def checked(cls, fields: dict[str, Any]) -> Self:
        """Make a record from its fields, checked as the constructor checks them, in half of its time.

        Raises
        ------
        pydantic.ValidationError
            If a name is not a field or a value does not fit it.
        """
        record: Self = cls.__pydantic_validator__.validate_python(fields)
        return record


def _leave_fields(record: Model) -> None:
    """Forget what was worked out from the fields of a record."""
    fields = type(record).model_fields
    if len(record.__dict__) > len(fields):
        for name in record.__dict__.keys() - fields.keys():
            del record.__dict__[name]


def _fixed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _stop_at_first_error(schema: Any) -> None:
    """Mark every tuple in a schema."""
    pending = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            if part.get("type") == "tuple":
                part["fail_fast"] = True
            pending += part.values()
        elif isinstance(part, list | tuple):
            pending += part


class _Reference:
    """Marks a string as the name of a function of the program."""


FunctionRef = Annotated[str, _Reference()]
"""The name of a function in the program's table."""


def refers_to_functions(annotation: object, metadata: object = ()) -> bool:
    """Whether a field is a :data:`FunctionRef`, or a tuple or option of them."""
    marks = (*getattr(annotation, "__metadata__", ()), *(metadata if isinstance(metadata, list) else ()))
    return any(isinstance(mark, _Reference) for mark in marks) or any(map(refers_to_functions, get_args(annotation)))


PathKey = str | int
StatePath = tuple[PathKey, ...]
"""Where a state sits in its module: attribute names, dict keys and list indices."""
