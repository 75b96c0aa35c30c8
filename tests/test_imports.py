"""Who may import whom, read from the syntax of every file, and what `import hyco` costs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import hyco

PACKAGE = Path(hyco.__file__).parent
FRAMEWORKS = frozenset(
    {
        "torch",
        "torchvision",
        "phi",
        "phiml",
        "jax",
        "jaxlib",
        "equinox",
        "optax",
        "flax",
        "tensorflow",
        "keras",
    }
)
UNPICKLERS = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"})

CONFIG = frozenset({"hyco.errors", "hyco.problem"})
INTERFACES = CONFIG | {"hyco.config"}
STORAGE = INTERFACES | {"hyco.interfaces"}
LEARNING = STORAGE | {"hyco.storage"}
SHARED = LEARNING | {"hyco.learning", "hyco.report"}
SIDE = SHARED | {"hyco.migration.registry"}
TRACKING = LEARNING | {"hyco.report"}
TASKS = SHARED | {"hyco.migration"}


@dataclass(frozen=True)
class Arrow:
    """What one package may import.

    Attributes: hyco, modules of hyco besides its own; lazily, those that only a function may import;
    frameworks, which array frameworks; others, the only further packages, or None for any.
    """

    hyco: frozenset[str]
    lazily: frozenset[str] = frozenset()
    frameworks: frozenset[str] = frozenset()
    others: frozenset[str] | None = None


NOTHING = frozenset[str]()
ARROWS = {
    "hyco": Arrow(TASKS | {"hyco.tasks"}, others=NOTHING),
    "hyco.__main__": Arrow(frozenset({"hyco.cli"}), others=NOTHING),
    "hyco.errors": Arrow(NOTHING, others=NOTHING),
    "hyco.problem": Arrow(frozenset({"hyco.errors"})),
    "hyco.config": Arrow(CONFIG),
    "hyco.interfaces": Arrow(INTERFACES),
    "hyco.storage": Arrow(STORAGE),
    "hyco.learning": Arrow(LEARNING),
    "hyco.report": Arrow(LEARNING),
    "hyco.migration": Arrow(LEARNING | {"hyco.learning"}, lazily=frozenset({"hyco.compat"})),
    "hyco.migration.shadow": Arrow(LEARNING | {"hyco.migration", "hyco.testing"}),
    "hyco.migration.registry": Arrow(frozenset({"hyco.errors"}), others=NOTHING),
    "hyco.tracking": Arrow(TRACKING),
    "hyco.tasks": Arrow(TASKS | {"hyco.tracking"}),
    "hyco.comparison": Arrow(TASKS | {"hyco.tasks", "hyco.testing"}),
    "hyco.cli": Arrow(TASKS | {"hyco.tasks", "hyco.comparison"}, lazily=frozenset({"hyco.compat"})),
    "hyco.legacy": Arrow(SIDE, frameworks=frozenset({"torch"})),
    "hyco.phiml": Arrow(
        SIDE, lazily=frozenset({"hyco.kernels", "hyco.jax"}), frameworks=frozenset({"phiml", "phi"})
    ),
    "hyco.jax": Arrow(
        LEARNING | {"hyco.learning"},
        frameworks=frozenset({"jax", "equinox", "optax"}),
        others=frozenset({"numpy"}),
    ),
    "hyco.kernels": Arrow(
        frozenset({"hyco.errors"}),
        frameworks=frozenset({"torch"}),
        others=frozenset({"numpy", "numba", "triton"}),
    ),
    "hyco.compat": Arrow(SIDE | {"hyco.testing.compare"}, frameworks=frozenset({"torch", "phiml", "phi"})),
    "hyco.testing": Arrow(TASKS, others=frozenset({"numpy", "typer"})),
}


@dataclass(frozen=True)
class Import:
    """One import: everything that it may load, where it stands, and when it happens."""

    target: str
    line: int
    in_function: bool = False
    for_types: bool = False


def within(target: str, packages: frozenset[str]) -> bool:
    """Whether a dotted name is one of these packages or lies in one."""
    return any(target == p or target.startswith(f"{p}.") for p in packages)


def arrow_of(module: str) -> tuple[str, Arrow]:
    """The rule of a module: that of its nearest package; the root's is for the root alone."""
    names = [n for n in ARROWS if n == module or (n != "hyco" and module.startswith(f"{n}."))]
    assert names, f"{module} has no arrows; say in ARROWS what it may import"
    name = max(names, key=len)
    return name, ARROWS[name]


def imports(
    tree: ast.AST, package: str, in_function: bool = False, for_types: bool = False
) -> Iterator[Import]:
    """Every import below a node, in functions, under TYPE_CHECKING, and by `import_module("name")` too."""
    for node in ast.iter_child_nodes(tree):
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        types = for_types or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for target in targets(node, package):
            yield Import(target, node.lineno, inside, types)  # type: ignore[attr-defined]
        yield from imports(node, package, inside, types)


def targets(node: ast.AST, package: str) -> list[str]:
    """The dotted names that one node imports; `from a import b` may load a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*parents, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in {"import_module", "__import__"}:
            return [str(node.args[0].value)]
    return []


def problem_of(found: Import, module: str) -> str | None:
    """Why a module may not import this, or None."""
    own, arrow = arrow_of(module)
    root = found.target.partition(".")[0]
    if found.target.endswith(".*"):
        return "star import"
    if within(found.target, frozenset({"phi.torch.flow", "phi.jax.flow", "phi.tf.flow"})):
        return "sets process-wide state when it is imported"
    if root in UNPICKLERS:
        return "unpickles"
    if root == "matplotlib" and not found.in_function and not found.for_types:
        return "matplotlib outside a function"
    if root == "hyco":
        mine = own != "hyco" and within(found.target, frozenset({own}))
        lazily = found.in_function and within(found.target, arrow.lazily)
        allowed = mine or lazily or within(found.target, arrow.hyco | {"hyco.__version__"})
        return None if allowed else "a forbidden arrow"
    if root in FRAMEWORKS:
        return None if root in arrow.frameworks else "a framework it must not know"
    if arrow.others is not None and root not in arrow.others | sys.stdlib_module_names:
        return "a package it must not need"
    return None


def unsafe_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that run what they read: eval and exec, and loading that unpickles."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
                yield node.lineno, node.func.id
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if (keyword.arg, value) in {("allow_pickle", True), ("weights_only", False)}:
                    yield node.lineno, f"{keyword.arg}={value}"


def problems(source: str, module: str, package: str) -> list[str]:
    """Everything that is forbidden in the source of a module."""
    tree = ast.parse(source)
    found = [
        f"{module}:{i.line}: {i.target}: {why}"
        for i in imports(tree, package)
        if (why := problem_of(i, module))
    ]
    return found + [f"{module}:{line}: {call}" for line, call in unsafe_calls(tree)]


def modules() -> dict[str, Path]:
    """Every module of hyco, by dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("hyco", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def package_of(module: str) -> str:
    """The package that relative imports of a module start from."""
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


@pytest.mark.parametrize("name", sorted({arrow_of(m)[0] for m in MODULES}))
def test_no_file_crosses_an_arrow(name: str) -> None:
    mine = {m: p for m, p in MODULES.items() if arrow_of(m)[0] == name}
    found = [line for m, p in mine.items() for line in problems(p.read_text(), m, package_of(m))]
    assert not found, "\n".join(found)


def test_imports_make_no_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        found = imports(ast.parse(path.read_text()), package_of(module))
        now = [i.target for i in found if not i.in_function and not i.for_types]
        homes = {t if t in MODULES else t.rpartition(".")[0] for t in now}
        graph[module] = homes & MODULES.keys() - {module, "hyco"}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("hyco.errors") < order.index("hyco.migration.registry")


GOOD = [
    (
        "hyco.problem.x",
        "import numpy as np\nfrom hyco.errors import DataError\nfrom hyco.problem import grid",
    ),
    ("hyco.problem.x", "from . import grid\nfrom .grid import Grid\nfrom ..errors import DataError"),
    ("hyco.storage.x", "from hyco import __version__\nimport h5py"),
    ("hyco.report.x", "def draw():\n    from matplotlib.figure import Figure"),
    ("hyco.legacy.x", "import torch\nfrom hyco.migration.registry import register\nmodel.eval()"),
    ("hyco.legacy.x", "torch.load(path, weights_only=True)"),
    ("hyco.phiml.x", "from phi import math\nfrom phiml.math import Tensor\nfrom hyco import interfaces"),
    ("hyco.migration.factory", "def adapt():\n    from hyco.compat import adapters"),
    ("hyco.compat.x", "import torch, phi, phiml"),
    ("hyco.testing", "import numpy, json\nfrom hyco.problem.grid import Grid"),
]

BAD = [
    ("hyco.errors", "import numpy", "must not need"),
    ("hyco.problem.x", "from hyco.config import Config", "forbidden arrow"),
    ("hyco.problem.x", "from hyco import config", "forbidden arrow"),
    ("hyco.problem.x", "from ..config import Config", "forbidden arrow"),
    ("hyco.problem.x", "import hyco", "forbidden arrow"),
    ("hyco.config", "from hyco.interfaces import State", "forbidden arrow"),
    ("hyco.interfaces", "import torch", "framework"),
    ("hyco.storage.x", "from hyco.learning import training", "forbidden arrow"),
    ("hyco.learning.x", "def f():\n    import torch", "framework"),
    ("hyco.learning.x", "if TYPE_CHECKING:\n    import phiml", "framework"),
    ("hyco.learning.x", "import_module('phiml.math')", "framework"),
    ("hyco.report.x", "import matplotlib.pyplot as plt", "outside a function"),
    ("hyco.tasks", "import importlib\nimportlib.import_module('hyco.legacy')", "forbidden arrow"),
    ("hyco.tasks", "from hyco.cli import app", "forbidden arrow"),
    ("hyco.migration.registry", "import numpy", "must not need"),
    ("hyco.migration.registry", "from hyco.problem import grid", "forbidden arrow"),
    ("hyco.migration.factory", "from hyco.compat import adapters", "forbidden arrow"),
    ("hyco.migration.factory", "def f():\n    from hyco.legacy import dataset", "forbidden arrow"),
    ("hyco.legacy.x", "from phiml import math", "framework"),
    ("hyco.legacy.x", "import phi.field", "framework"),
    (
        "hyco.legacy.x",
        "class A:\n    def f(self):\n        from hyco.phiml import tensors",
        "forbidden arrow",
    ),
    ("hyco.legacy.x", "from hyco.compat import weights", "forbidden arrow"),
    ("hyco.legacy.x", "from hyco.migration import factory", "forbidden arrow"),
    ("hyco.phiml.x", "import torch.nn", "framework"),
    ("hyco.phiml.x", "import jax", "framework"),
    ("hyco.phiml.x", "from hyco.legacy.tensors import snapshot", "forbidden arrow"),
    ("hyco.phiml.x", "import hyco.compat", "forbidden arrow"),
    ("hyco.phiml.x", "from phi.torch.flow import Tensor", "process-wide"),
    ("hyco.phiml.x", "from phi.torch import flow", "process-wide"),
    ("hyco.phiml.x", "from phi.flow import *", "star import"),
    ("hyco.compat.x", "from hyco.legacy import tensors", "forbidden arrow"),
    ("hyco.compat.x", "from hyco import phiml", "forbidden arrow"),
    ("hyco.kernels.x", "import scipy", "must not need"),
    ("hyco.jax.x", "import torch", "framework"),
    ("hyco.jax.x", "from hyco.phiml import device", "forbidden arrow"),
    ("hyco.phiml.x", "from hyco.jax import network", "forbidden arrow"),
    ("hyco.testing", "import torch", "framework"),
    ("hyco.testing", "import scipy", "must not need"),
    ("hyco.storage.x", "import pickle", "unpickles"),
    ("hyco.problem.x", "value = eval(text)", "eval"),
    ("hyco.legacy.x", "torch.load(path, weights_only=False)", "weights_only=False"),
    ("hyco.storage.x", "np.load(path, allow_pickle=True)", "allow_pickle=True"),
]


@pytest.mark.parametrize(("module", "source"), GOOD)
def test_the_checker_lets_good_imports_pass(module: str, source: str) -> None:
    assert problems(source, module, module.rpartition(".")[0]) == []


@pytest.mark.parametrize(("module", "source", "why"), BAD)
def test_the_checker_finds_bad_imports(module: str, source: str, why: str) -> None:
    found = problems(source, module, module.rpartition(".")[0])
    assert len(found) == 1 and why in found[0] and found[0].startswith(f"{module}:")


def test_a_new_package_must_say_what_it_imports() -> None:
    with pytest.raises(AssertionError, match=r"hyco\.utils has no arrows"):
        problems("import os", "hyco.utils", "hyco")


MEASURE = """
import json, sys, time
before = set(sys.modules)
start = time.perf_counter()
import hyco
seconds = time.perf_counter() - start
imported = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
hyco.set_mode("hybrid", {"dataset": "phiml"})
side, source = hyco.mode_of("dataset")
used = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"seconds": seconds, "imported": imported, "used": used, "side": side}))
"""


def fresh_import() -> dict[str, object]:
    """What `import hyco` takes and loads in a new interpreter."""
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, env=env, check=True
    )
    return dict(json.loads(done.stdout))


def test_importing_hyco_is_quick_and_loads_no_framework() -> None:
    heavy = FRAMEWORKS | {"matplotlib", "numpy", "scipy", "h5py", "pydantic", "typer"}
    runs = [fresh_import() for _ in range(3)]
    for run in runs:
        assert not heavy & set(run["imported"]) and not heavy & set(run["used"])  # type: ignore[call-overload]
        assert "hyco" in run["imported"] and run["side"] == "phiml"  # type: ignore[operator]
    assert min(float(run["seconds"]) for run in runs) < 0.2  # type: ignore[arg-type]
