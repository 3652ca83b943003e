"""Checks of a settings dataclass against its own annotations, with errors of one sentence."""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterable, Mapping


def accepts(kind: object, value: object) -> bool:
    """Whether `value` fits the annotation `kind`: bool is no int, an int is a float, NaN is nothing."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(accepts(option, value) for option in typing.get_args(kind))
    if typing.get_origin(kind) is typing.Literal:
        return value in typing.get_args(kind)
    if kind is None or kind is types.NoneType:
        return value is None
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if typing.get_origin(kind) in (dict, Mapping):
        return isinstance(value, Mapping)
    if kind is tuple:  # JSON knows lists alone
        return isinstance(value, (tuple, list))
    if isinstance(kind, type):
        return isinstance(value, kind)
    return True


def spell(kind: object) -> str:
    """An annotation in words for an error message."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(spell(option) for option in typing.get_args(kind))
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(repr(option) for option in typing.get_args(kind))
    return "None" if kind is types.NoneType else getattr(kind, "__name__", str(kind))


@functools.cache
def annotations(kind: type) -> dict[str, object]:
    """The annotations of a class; looking them up takes longer than checking all values."""
    return typing.get_type_hints(kind)


def check_fields(instance: object) -> None:
    """Check every field of a dataclass instance against its annotation, and turn an int in a float field into a float.

    Raises:
        TypeError: a field holds another type than it is annotated with.
    """
    kinds = annotations(type(instance))
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if not accepts(kinds[field.name], value):
            raise TypeError(f"{field.name} must be {spell(kinds[field.name])}, got {value!r}")
        if isinstance(value, int) and not isinstance(value, bool) and not accepts_int(kinds[field.name]):
            object.__setattr__(instance, field.name, float(value))


def accepts_int(kind: object) -> bool:
    """Whether an int is at home in the annotation, not merely allowed as a float."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(accepts_int(option) for option in typing.get_args(kind))
    return kind is not float and accepts(kind, 1)


def check_positive(instance: object, names: Iterable[str]) -> None:
    """Require the named fields to be above zero where they are set.

    Raises:
        ValueError: a field is zero or negative.
    """
    for name in names:
        value = getattr(instance, name)
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be above 0, got {value!r}")


def check_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Require `name` to be one of `known`.

    Raises:
        ValueError: it is not; the error lists the known ones.
    """
    names = sorted(known)
    if name not in names:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(names)}")
