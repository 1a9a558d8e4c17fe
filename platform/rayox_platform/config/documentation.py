"""The docstring under each field of a section, from its source: pydantic models and plain dataclasses alike."""

import ast
import inspect
import textwrap


def field_docs(section: type) -> dict[str, str]:
    """The docstrings under the annotated fields of a class and its bases; a field without one is left out."""
    docs: dict[str, str] = {}
    for cls in reversed(section.__mro__):
        if getattr(cls, "__annotations__", None) and cls.__module__.startswith("rayox"):
            docs.update(_own_docs(cls))
    return docs


def _own_docs(cls: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            if isinstance(text, str):
                docs[field.target.id] = inspect.cleandoc(text)
    return docs
