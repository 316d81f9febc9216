"""``import dovetail``: what it hands on, and that it imports nothing before it is asked for."""

from __future__ import annotations

import ast
import importlib
import inspect
import pydoc
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.internal import cloudpickle_pickler

import dovetail
from tests.pipelines.support import ROOT, command, make_lines, write_tree

HEAVY = ["apache_beam", "numba", "numpy", "pyarrow", "pydantic", "sentencepiece", "tokenizers"]
LOADED = f"import sys; print([name for name in {HEAVY} if name in sys.modules])"


def output_of(code: str, **more: Path) -> str:
    done = command(python=("-c", code), **more)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_importing_it_and_asking_for_errors_and_version_imports_nothing_heavy() -> None:
    code = "import dovetail; dir(dovetail), dovetail.__version__, dovetail.UsageError; "
    assert output_of(code + LOADED) == "[]"


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("Tokenizer", ["apache_beam", "pyarrow"]),
        ("Manifest", ["apache_beam", "numba"]),
        ("shuffle", ["apache_beam", "numba"]),
        ("verify", ["apache_beam", "numba"]),
        ("show", ["apache_beam", "numba"]),
        ("WriteShards", ["numba"]),
    ],
)
def test_a_name_brings_in_no_more_than_it_needs(name: str, without: list[str]) -> None:
    found = ast.literal_eval(output_of(f"from dovetail import {name}; {LOADED}"))
    assert found
    assert not {*found} & {*without}


def test_type_checkers_see_the_names_that_there_are() -> None:
    tree = ast.parse(inspect.getsource(dovetail))
    (seen,) = [node for node in tree.body if isinstance(node, ast.If)]
    names = {
        alias.name: node.module
        for node in seen.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }
    assert names == dovetail._MODULES
    assert sorted(names) == sorted(dovetail.__all__)


def test_each_name_is_the_one_of_its_module_and_is_in_dir() -> None:
    for name, module in dovetail._MODULES.items():
        assert getattr(dovetail, name) is getattr(importlib.import_module(module), name)
    assert {*dovetail.__all__, "__version__"} == {*dir(dovetail)}
    with pytest.raises(AttributeError, match="no attribute 'shufle'"):
        dovetail.shufle  # type: ignore[attr-defined]  # noqa: B018


def test_a_star_and_help_give_the_public_names() -> None:
    assert output_of("from dovetail import *; print(shuffle.__name__, WriteShards.__name__)") == (
        "shuffle WriteShards"
    )
    text = pydoc.plain(pydoc.render_doc(dovetail))
    assert "dovetail.shuffle(input=" in text
    for name in dovetail.__all__:
        assert name in text


def test_errors_are_one_tree() -> None:
    errors = [getattr(dovetail, name) for name in dovetail.__all__ if name.endswith("Error")]
    assert len(errors) == 8
    assert all(issubclass(error, dovetail.DovetailError) for error in errors)


def test_transforms_got_by_it_are_found_again_in_workers() -> None:
    write = dovetail.WriteShards(output="there")
    assert isinstance(write, beam.PTransform)
    found = cloudpickle_pickler.loads(cloudpickle_pickler.dumps(write))
    assert type(found) is dovetail.WriteShards
    assert found.output == "there"
    packed = cloudpickle_pickler.dumps(lambda: dovetail.Sampling(law="exact").law)
    assert cloudpickle_pickler.loads(packed)() == "exact"


@pytest.mark.slow
def test_folders_of_the_users_beside_a_script_are_in_nobodys_way(tmp_path: Path) -> None:
    trap = b"raise SystemExit('shadowed')\n"
    write_tree(tmp_path, {f"{name}/__init__.py": trap for name in ("pipelines", "transforms")})
    write_tree(tmp_path, {"in.txt": make_lines(30)})
    code = (
        "import dovetail\n"  # no main guard: workers are processes that don't import the script
        "done = dovetail.shuffle(input='in.txt', output='o', workers=2, quiet=True)\n"
        "print(done.records)\n"
    )
    write_tree(tmp_path, {"script.py": code.encode()})
    done = command(python=("script.py",), cwd=tmp_path)
    assert (done.stdout, done.stderr) == (b"30\n", b"")
    assert output_of(code.replace("'o'", "'from a notebook'"), cwd=tmp_path) == "30"


def test_a_shuffle_in_a_notebook_needs_nothing_of_beams_for_notebooks(tmp_path: Path) -> None:
    # Beam asks IPython for a cell's number, and imports pandas and more to know whose label it is
    code = (
        "import sys, types\n"
        "kernel = types.SimpleNamespace(execution_count=1, config={'IPKernelApp': {}})\n"
        "sys.modules['IPython'] = types.SimpleNamespace(get_ipython=lambda: kernel)\n"
        "sys.modules['apache_beam.runners.interactive'] = None\n"
        "import dovetail\n"
        "print(dovetail.shuffle(input='in.txt', output='o', workers=2, quiet=True).records)\n"
    )
    write_tree(tmp_path, {"in.txt": make_lines(30)})
    assert output_of(code, cwd=tmp_path) == "30"


def test_a_package_of_the_users_that_was_imported_before_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"pipelines/__init__.py": b"", "script.py": b"import pipelines, dovetail"})
    done = command(python=("script.py",), cwd=tmp_path)
    assert f"imported before, from {tmp_path}/pipelines" in done.stderr.decode()


@pytest.mark.parametrize("name", ["shuffle", "tokenize", "verify", "show"])
def test_the_commands_run_by_its_name(name: str) -> None:
    done = command(name, "--help", python=("-m", "dovetail"), cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout.startswith(f"dovetail {name}".encode())
