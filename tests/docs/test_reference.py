"""The generated pages are complete: every flag, public name, field of a manifest, and message."""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
import re
import textwrap
from pathlib import Path

import pytest

import dovetail
from deploy.site import commands, error_list, manifests, message_texts, python_names
from deploy.site.hooks import generated_pages, outside_as_code
from pipelines.__main__ import main
from pipelines.recipes.flag_errors import flag_of
from tests.pipelines.support import ROOT
from transforms import errors
from transforms.datasets.manifest import Manifest
from transforms.datasets.prepared import PreparedManifest


def constant(name: str) -> str:
    """Return the text that a module of ours names, found without the page's code."""
    sources = ((ROOT / "transforms").rglob("*.py"), (ROOT / "pipelines").rglob("*.py"))
    for file in itertools.chain(*sources):
        if found := re.search(rf'^{name} = \(?\s*"(.*)"', file.read_text("utf-8"), re.MULTILINE):
            return found[1]
    raise AssertionError(name)


@pytest.mark.parametrize("name", commands.names())
def test_a_commands_page_has_every_flag_of_its_models(name: str) -> None:
    page = commands.page(name)
    determine, change_how = page.partition("## Flags that change how")[::2]
    recipe, settings = commands.models(name)
    for models, part in ((recipe, determine), (settings, change_how or page)):
        for model in models:
            for field, info in model.model_fields.items():
                row = rf"^\| `{re.escape(flag_of(field))}`\{{ #{field} \}}"
                only = rf"^\| `{field}`\{{ #{field} \}}, in recipe files only"
                there = re.search(f"{row}|{only}", part, re.MULTILINE)
                assert bool(there) == (not info.deprecated), field


def test_a_default_stands_as_one_types_it() -> None:
    assert re.search(
        r"^\| `--separator`\{ #separator \} \| `BYTE` \| `\\n` \|", commands.page("shuffle"), re.M
    )


@pytest.mark.parametrize("name", commands.names())
def test_a_commands_page_has_its_examples(name: str) -> None:
    module = importlib.import_module(f"pipelines.{name}")
    page = commands.page(name)
    written = re.findall(r"dovetail \w+ \S+", module.EXAMPLES)
    assert written
    assert all(example in page for example in written)


def test_every_public_name_has_an_entry_and_says_something() -> None:
    page = python_names.page()
    entries = dict(re.findall(r"^### `(\w+)` [^\n]*\n(.*?)(?=^##)", page + "## ", re.M | re.S))
    assert set(entries) == set(dovetail.__all__)
    assert [name for name, text in entries.items() if len(text.split()) < 6] == []


@pytest.mark.parametrize("root", [Manifest, PreparedManifest])
def test_every_field_of_a_manifest_is_described(root: type) -> None:
    page = manifests.page()
    for model in manifests._models(root):
        for field in model.model_fields:
            row = re.escape(f"`{field}`{{ #{manifests._anchor(root, model)}-{field} }}")
            found = re.search(rf"^\| {row} \| (.+?) \| (.*?) \|$", page, re.MULTILINE)
            assert found is not None, (model.__name__, field)
            assert found[2], (
                f"{model.__name__}.{field} has no line in the Attributes of its docstring"
            )


def test_every_class_of_errors_says_what_to_do() -> None:
    assert set(error_list.ACTIONS) == set(errors._BY_NAME)


def test_the_page_has_every_message_of_the_source() -> None:
    page = error_list.page()
    classes = "|".join(error_list.ACTIONS)
    begins = re.compile(rf'raise (?:{classes}|Misfit)\(\s*f?"([^"{{\\|`]{{8,}})', re.ASCII)
    found = {
        begin
        for package in ("dovetail", "pipelines", "transforms")
        for file in (ROOT / package).rglob("*.py")
        for begin in begins.findall(file.read_text("utf-8"))
    }
    assert len(found) > 100
    flat = page.replace("` | `", "; ")  # what happened and what to do, as one
    assert [begin for begin in found if " ".join(begin.split()) not in flat] == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("shufle", "unknown command"),
        ("shuffle --sed=3", "unknown flag"),
        ("shuffle --recipe=sed.yaml -o out", "unknown field"),
        ("shuffle --recipe=true.yaml -o out", "expected a value other than true or false"),
        ("shuffle --recipe=quiet.yaml -o out", "is for the command line only"),
        ("shuffle --recipe=twice.yaml -o out", "mean the same"),
        ("shuffle -o out", "is missing"),
        ("shuffle -i a.jsonl -o out more", "expected one value"),
        ("shuffle -i gone.jsonl -o out", "no file matches"),
        ("shuffle -i a.jsonl -o out --memory=1MB", "is too little for"),
        ("shuffle -i a=a.jsonl -o out --weights=b=1", "expected names of the sources"),
        ("shuffle -i a=a.jsonl -o out --repeats=a=2 --weigh_by=bytes", "counted in passes"),
        ("shuffle -i a=a.jsonl -o out --repeats=a=2 --stop=all_exhausted", "end by themselves"),
        ("shuffle -i s3://me:word@host/x -o out", "holds what looks like a secret"),
        ("shuffle -i= -o out", "expected a path, got an empty one"),
        ("shuffle -i a.jsonl -o out --num_shards=few", "expected a whole number"),
        ("split -i a.jsonl -o out --fractions=a=2", "expected NAME=FRACTION"),
        ("tokenize -i a.jsonl -o out --tokenizer=gone.model", "there is no such file"),
        ("verify gone", "without one there is no complete dataset"),
    ],
)
def test_the_page_has_what_wrong_commands_say(
    argv: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text('{"text": "one"}\n')
    for name, line in (
        ("sed", "sed: 3"),
        ("true", "seed: true"),
        ("quiet", "quiet: true"),
        ("twice", "workers: 1\ndirect_num_workers: 1"),
    ):
        Path(f"{name}.yaml").write_text(f"sources: a.jsonl\n{line}\n")
    assert main(argv.split()) == 2
    assert words in capsys.readouterr().err
    assert words in error_page()


@functools.cache
def error_page() -> str:
    return error_list.page().partition("## Messages")[2]


@pytest.mark.parametrize(
    ("code", "texts"),
    [
        ("raise origin.error(f'{x}: bad name')", ["{x}: bad name"]),
        ("raise Origin().error('bad name')", ["bad name"]),
        ("if x:\n  says = 'is bad'\nelse:\n  says = 'is worse'\nraise DataError(f'{x}: {says}')",
         ["{x}: is bad", "{x}: is worse"]),
        ("raise DataError({'a': 'is bad', 'b': 'is worse'}[x])", ["is bad", "is worse"]),
        ("says = 'is bad' if x else ''\nraise DataError(f'it {says}')", ["it is bad"]),
        ("def g(text):\n  raise DataError(text)\ng(f'{x} is bad')", ["{x} is bad"]),
        ("log.error('is bad')\nraise DataError(str(error))", []),
    ],
)  # fmt: skip
def test_messages_in_names_are_found(
    code: str, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "module.py"
    file.write_text(textwrap.indent(code, "  ").join(("def f(x):\n", "\n")))
    monkeypatch.setattr(error_list, "ROOT", tmp_path)
    assert [message.text for message in error_list._messages_of(file)] == texts


def test_few_values_have_no_name() -> None:
    assert len(re.findall(r"\{…\}|\{str\}", error_page())) <= 1


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ('"a plain one"', "a plain one"),
        ('f"{url}: expected {len(rows)} rows"', "{url}: expected {rows} rows"),
        ("f\"one of {', '.join(names)}\" + hint(x)", "one of {names}{x}"),
        ('"a" if x else "b"', "a | b"),
        ("str(error)", "{error}"),
        ('f"{_most} left"', "{most} left"),
        ("f\"one of {', '.join(map(str, names))}\"", "one of {names}"),
        ("f\"{n} worker{'s' if n > 1 else ''}\"", "{n} workers"),
        ("AT_FAULT", constant("AT_FAULT")),
        ("f\"{info['size']} of {of - 1}, {type(x).__name__}\"", "{size} of {of}, {type}"),
        ("f\"{name.replace('_', ' ')}: {says}\"", "{name}: {place} is bad"),
    ],
)
def test_placeholders_are_named(code: str, text: str) -> None:
    says = {"says": ast.parse('f"{place} is bad"', mode="eval").body}
    assert message_texts.text_of(ast.parse(code, mode="eval").body, says) == text


def test_a_name_stands_for_its_text_if_that_is_the_only_one() -> None:
    code = """
def f(x):
    says, hint = 1, 2
    one = f"{x} is bad"
    two = "a"
    two = "b"
    raise DataError(f"{one}; {two}")
"""
    tree = ast.parse(code)
    (node, scope) = next(message_texts.calls(tree, message_texts.Scope(tree)))
    assert message_texts.text_of(node.args[0], scope.texts) == "{x} is bad; {two}"


@pytest.mark.parametrize(
    ("text", "said", "action"),
    [
        ("{url}: gone; look again; or not", "{url}: gone", "look again; or not"),
        ("a; b; run it", "a; b", "run it"),
        ("expected a, got b", "expected a, got b", ""),
        ("this; nothing was published", "this; nothing was published", ""),
    ],
)
def test_what_to_do_is_told_from_what_happened(text: str, said: str, action: str) -> None:
    assert error_list.in_two(text) == (said, action)


def test_links_that_leave_the_site_become_paths() -> None:
    page = "how-to/library.md"
    assert outside_as_code("[`kernels.py`](../../examples/kernels.py)", page) == (
        "`kernels.py` (`examples/kernels.py`)"
    )
    for kept in ("[split](split.md#x)", "[a](https://x.y/z)", "[gone](../../examples/gone.py)"):
        assert outside_as_code(kept, page) == kept


def test_every_page_has_its_place_in_the_nav() -> None:
    nav = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    here = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"[\w/-]+\.md", nav)) == here | set(generated_pages())


def test_nothing_of_the_site_comes_from_elsewhere() -> None:
    config = Path(ROOT / "mkdocs.yml").read_text("utf-8")
    assert re.findall(r"https?://\S+", config) == []
    assert "font: false" in config
