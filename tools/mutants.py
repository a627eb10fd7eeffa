"""Mutation testing: one place of a module's source is changed at a time, and its tests must notice.

    python -m tools.mutants --module=calcseg_tf.losses --tests=tests/test_losses.py --sample=100
    python -m tools.mutants --module=calcseg_tf.losses --tests=tests/test_losses.py --mutant=17    with its tests' words

Every mutant is a process forked from one that has imported libraries and run nothing, so that the import of TensorFlow
is paid once. Tests that start processes of their own see the module as it is. Ends with status 1 if a mutant survives;
one that changes nothing anybody could see is explained in BUILD_NOTES.md.
"""

import argparse
import ast
import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pathlib
import random
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tqdm import tqdm

__all__ = ["Mutation", "main", "mutations"]

_EXCHANGED_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd, ast.USub: ast.UAdd, ast.Invert: ast.UAdd,
}  # fmt: skip
_PAIRS = (
    ("min", "max"), ("any", "all"), ("minimum", "maximum"), ("reduce_min", "reduce_max"), ("reduce_sum", "reduce_mean"),
    ("reduce_any", "reduce_all"), ("floor", "ceil"), ("argmin", "argmax"), ("zeros", "ones"), ("append", "extend"),
    ("zeros_like", "ones_like"), ("logical_and", "logical_or"), ("mean", "sum"), ("left", "right"),
)  # fmt: skip
_EXCHANGED_NAMES = {**dict(_PAIRS), **{other: one for one, other in _PAIRS}}
_SLOWER = 5.0  # than the module as it is, and the ten seconds below: an endless loop is noticed too
# Imported before the fork; nothing of them may run there, or threads would be lost.
_LIBRARIES = (
    "hypothesis", "scipy.ndimage", "scipy.spatial", "skimage.measure", "sklearn.metrics", "tensorflow",
    "tensorflow_addons",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One change of a syntax tree.

    Attributes:
        line: Of the source, from 1.
        told: What is changed, for a person.
        apply: Changes the tree.
    """

    line: int
    told: str
    apply: Callable[[], None]


def mutations(tree: ast.AST) -> Iterator[Mutation]:
    """Yields all changes of a tree, in the order of its nodes; annotations and `__all__` are left alone."""
    for node in _nodes(tree):
        for told, apply in _changes(node):
            yield Mutation(node.lineno, told, apply)


def _nodes(node: ast.AST) -> Iterator[Any]:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _nodes(child)


def _changes(node: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    def put(place: Any, name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(place, name, value)

    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp | ast.UnaryOp):
        if isinstance(node.op, ast.Not):
            yield "not left out", put(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
        elif (other := _EXCHANGED_OPERATORS.get(type(node.op))) is not None:
            yield f"{type(node.op).__name__} to {other.__name__}", put(node, "op", other())
    elif isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            other = _EXCHANGED_OPERATORS[type(operator)]
            yield (
                f"{type(operator).__name__} to {other.__name__}",
                put(node, "ops", [*node.ops[:index], other(), *node.ops[index + 1 :]]),
            )
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} to {not node.value}", put(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield f"{node.value} to {node.value + 1}", put(node, "value", node.value + 1)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition negated", put(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Name | ast.Attribute):
        field = "id" if isinstance(node, ast.Name) else "attr"
        if (name := _EXCHANGED_NAMES.get(getattr(node, field))) is not None:
            yield f"{getattr(node, field)} to {name}", put(node, field, name)
    elif isinstance(node, ast.Call):
        for index in range(len(node.args) - 1):
            exchanged = [*node.args[:index], node.args[index + 1], node.args[index], *node.args[index + 2 :]]
            yield f"arguments {index} and {index + 1} exchanged", put(node, "args", exchanged)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from a changed copy; its functions name that file as theirs, which autograph reads."""

    def __init__(self, name: str, path: str, copy: pathlib.Path) -> None:
        super().__init__(name, path)
        self._copy = copy

    def get_code(self, fullname: str) -> Any:
        return compile(self._copy.read_text(encoding="utf-8"), str(self._copy), "exec")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module in its changed copy, everything else as ever."""

    def __init__(self, module: str, path: pathlib.Path, copy: pathlib.Path) -> None:
        self._module, self._path, self._copy = module, path, copy

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        loader = _Loader(fullname, str(self._path), self._copy)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def _run(finder: _Finder, tests: Sequence[str], seconds: int, loud: bool = False) -> int:
    """Runs tests on a changed module in a forked process; returns how it ended, 0 where they passed."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        if not loud:
            for descriptor in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.meta_path.insert(0, finder)
        status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    finally:
        os._exit(status)


def main() -> None:
    """Runs the mutants drawn and prints those that survive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", required=True, help="dotted name")
    parser.add_argument("--tests", action="append", required=True, help="again and again for several")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn; all by default")
    parser.add_argument("--seed", type=int, default=7, help="of the sample")
    parser.add_argument("--mutant", type=int, help="this one alone")
    options = parser.parse_args()
    path = pathlib.Path(*options.module.split(".")).with_suffix(".py").resolve()
    original = path.read_text(encoding="utf-8")
    count = len(list(mutations(ast.parse(original))))
    numbers = sorted(random.Random(options.seed).sample(range(count), min(options.sample or count, count)))
    if options.mutant is not None:
        numbers = [options.mutant]
    for library in _LIBRARIES:
        importlib.import_module(library)
    survived = 0
    with tempfile.TemporaryDirectory() as folder, tqdm(numbers, unit="mutant", smoothing=0.05) as progress:
        finder = _Finder(options.module, path, copy := pathlib.Path(folder) / path.name)
        copy.write_text(ast.unparse(ast.parse(original)), encoding="utf-8")
        if _run(finder, options.tests, 3600):
            sys.exit("error: the tests fail on the module as it is")
        seconds = 10 + int(_SLOWER * resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime)
        for number in progress:
            tree = ast.parse(original)
            mutation = list(mutations(tree))[number]
            mutation.apply()
            copy.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
            if _run(finder, options.tests, seconds, options.mutant is not None) == 0:
                survived += 1
                line = original.splitlines()[mutation.line - 1].strip()
                progress.write(f"SURVIVED {number}: {mutation.told}, line {mutation.line}: {line}")
    killed = len(numbers) - survived
    print(f"{options.module}: {len(numbers)} of {count} mutants run, {killed} killed, {survived} survived")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
