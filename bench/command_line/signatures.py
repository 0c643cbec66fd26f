"""The options of classes, read from their source: nothing is imported."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PACKAGES = ("bench", "callbacks", "datamodules")
_ROOT = Path(__file__).parents[2]
_ENTRY = re.compile(r"( +)(\*{0,2}\w+): (.*)")


@dataclass(frozen=True)
class Option:
    """One parameter of a class.

    Attributes:
        name: As on the command line, without its group.
        kind: Its annotation.
        default: As one would type it; None if it has to be given.
        text: What its docstring says, in one line.
    """

    name: str
    kind: str
    default: str | None
    text: str


@dataclass(frozen=True)
class Description:
    """A class and its options, in their order.

    Attributes:
        name: Of the class.
        summary: First line of its docstring.
        options: Of its own constructor, or of the one that it inherits whole.
        base: The class that takes all other options; None if there is none.
    """

    name: str
    summary: str
    options: tuple[Option, ...]
    base: "Description | None" = None

    def all_options(self) -> tuple[Option, ...]:
        """The class's own options, then those that its constructor hands on."""
        return self.options + (self.base.all_options() if self.base else ())


@cache
def describe(class_path: str) -> Description | None:
    """The options of a class of this project by its dotted path or bare name; None if it is none.

    >>> [option.name for option in describe("datamodules.STL10").options]
    ['root', 'download', 'verify_checksums']
    >>> [option.default for option in describe("ZeroShotEvaluation").options if option.name == "templates"]
    ['["This is an image of a {}."]']
    """
    package, _, _ = class_path.partition(".")
    name = class_path.rpartition(".")[2]
    if not name.isidentifier() or ("." in class_path and package not in _PACKAGES):
        return None
    for file in sorted(_sources(), key=lambda file: file.relative_to(_ROOT).parts[0] != package):
        if re.search(rf"^class {re.escape(name)}\b", _text(file), re.MULTILINE):
            return _described(_class(file, name), file)
    return None


@cache
def describe_trainer() -> Description:
    """The options of Lightning's Trainer."""
    spec = find_spec("lightning")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0], "pytorch", "trainer", "trainer.py")
    return Description("Trainer", "", tuple(_options(_class(file, "Trainer"), file)))


@cache
def _sources() -> tuple[Path, ...]:
    return tuple(file for package in _PACKAGES for file in sorted((_ROOT / package).rglob("*.py")))


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _class(file: Path, name: str) -> ast.ClassDef:
    for node in ast.parse(_text(file)).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise LookupError(f"{file} defines no {name}")


def _described(node: ast.ClassDef, file: Path) -> Description:
    init = _init(node)
    bases = [describe(base.id) for base in node.bases if isinstance(base, ast.Name)]
    base = next((one for one in bases if one and one.all_options()), None)
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    if init is None and base:
        texts = _argument_texts(ast.get_docstring(node) or "")
        options = (replace(one, text=texts.get(one.name, one.text)) for one in base.options)
        return Description(node.name, summary, tuple(options), base.base)
    inherits = init is not None and init.args.kwarg is not None
    return Description(node.name, summary, tuple(_options(node, file)), base if inherits else None)


def _init(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)


def _options(node: ast.ClassDef, file: Path) -> Iterator[Option]:
    init = _init(node)
    texts = _argument_texts(ast.get_docstring(node) or "")
    if init is not None:
        texts |= _argument_texts(ast.get_docstring(init) or "")
    for name, annotation, default in _fields(node) if init is None else _parameters(init):
        kind = ast.unparse(annotation) if annotation else ""
        value = None if default is None else as_typed(_literal(default, file))
        yield Option(name, kind.replace("'", '"'), value, texts.get(name, ""))


def _parameters(init: ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Names, annotations and defaults of what a constructor takes."""
    positional = init.args.args[1:]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(init.args.defaults))
    pairs = [*zip(positional, [*defaults, *init.args.defaults], strict=True)]
    for argument, default in [*pairs, *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)]:
        yield argument.arg, argument.annotation, default


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Names, annotations and defaults of the fields of a data class; none of any other class."""
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and not ast.unparse(item.annotation).startswith("ClassVar"):
                assert isinstance(item.target, ast.Name)
                yield item.target.id, item.annotation, item.value


def _argument_texts(docstring: str) -> dict[str, str]:
    """What the `Args:` of a docstring says, by argument."""
    _, _, section = docstring.partition("Args:\n")
    texts: dict[str, list[str]] = {}
    name = indent = None
    for line in section.splitlines():
        if line.strip() and not line.startswith(" "):
            break
        entry = _ENTRY.match(line)
        if entry and (indent is None or len(entry[1]) <= len(indent)):
            indent, name = entry[1], entry[2]
            texts[name] = [entry[3]]
        elif name and line.strip():
            texts[name].append(line.strip())
        elif name and texts[name] and not line.strip():
            name = None  # paragraphs after the first are for readers of the source
    return {key: " ".join(lines) for key, lines in texts.items()}


def _literal(node: ast.expr, file: Path) -> Any:
    """The value of a default; constants of this project are looked up, anything else stays as it is written.

    Args:
        node: The default.
        file: Where it stands.
    """
    if isinstance(node, ast.Name):
        return _constant(node.id, file)
    if isinstance(node, ast.Tuple | ast.List):
        return [_literal(item, file) for item in node.elts]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Path":
        return _literal(node.args[0], file)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _Source(ast.unparse(node))


class _Source(str):
    """Python that is no literal."""

    __slots__ = ()


@cache
def _constant(name: str, file: Path) -> Any:
    """The value of a constant of its own file, or of the only other one that can have been imported."""
    for source in (file, *([] if name.startswith("_") else _sources())):
        if re.search(rf"^(\w+, )*{name}(, \w+)*(: [^=]+)? = ", _text(source), re.MULTILINE):
            for target, value in _assignments(ast.parse(_text(source))):
                if isinstance(target, ast.Name) and target.id == name:
                    return _literal(value, source)
    return _Source(name)


def _assignments(module: ast.Module) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Targets and values at the top level, those of `a, b = 1, 2` one by one."""
    for node in (statement for statement in module.body if isinstance(statement, ast.Assign)):
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                yield from zip(target.elts, node.value.elts, strict=False)
            else:
                yield target, node.value


def as_typed(value: Any) -> str:
    """A value as one would type it on the command line.

    >>> [as_typed(value) for value in (None, True, "ViT-B/32", ["original", "jpeg-75"], 0.1)]
    ['null', 'true', 'ViT-B/32', '[original, jpeg-75]', '0.1']
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_item(item) for item in value)}]"
    return str(value)


def _item(value: Any) -> str:
    text = as_typed(value)
    return f'"{text}"' if isinstance(value, str) and not re.fullmatch(r"[\w./+-]+", text) else text


def names(descriptions: Sequence[Description | None]) -> list[str]:
    """The names of all options of several classes."""
    return [option.name for one in descriptions if one for option in one.all_options()]
