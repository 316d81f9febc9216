"""Work that is done before workers are forked, and what they and the launcher have of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers import pre_tokenizers as cut
from tokenizers.decoders import ByteLevel
from tokenizers.models import BPE

from pipelines import tokenize
from pipelines.recipes.settings import Settings
from pipelines.runners.early_start import Call, EarlyStart, _has_processes
from pipelines.runners.worker_processes import WorkerProcesses
from tests.pipelines.support import read_shards
from tests.pipelines.tokenized import write_model
from transforms.errors import UsageError, WorkerError
from transforms.tokenization.models import load as loading

HERE = __name__


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """Of a run that tokenizes a few lines by a small model."""
    (tmp_path / "in.txt").write_text("".join(f"a line of text, {i}\n" for i in range(500)))
    model = write_model(tmp_path / "model.json")
    return [
        f"--input={tmp_path / 'in.txt'}",
        "--text_field=",
        f"--tokenizer={model}",
        "--sampling=exact",
        "--num_shards=2",
    ]


def count_loads(patch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by each model that this process loads."""
    found: list[str] = []
    real = loading.load

    def load(url: str, **how: Any) -> Any:
        found.append(url)
        return real(url, **how)

    patch.setattr("transforms.tokenization.tokenizer.load", load)
    return found


def test_one_worker_loads_the_model_once(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = count_loads(monkeypatch)
    tokenize.run([*flags, f"--output={tmp_path / 'one'}", "--workers=1"])
    assert len(loads) == 1
    tokenize.run([*flags, f"--output={tmp_path / 'again'}", "--workers=1"])
    assert len(loads) == 2, "the file may be another by now"


@pytest.mark.parametrize("given", [True, False], ids=["flags say so", "sizes say so"])
def test_workers_have_the_model_of_their_fork_server_and_all_write_the_same(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, given: bool
) -> None:
    monkeypatch.setenv("DOVETAIL_FORK", "0")
    tokenize.run([*flags, f"--output={tmp_path / 'anew'}", "--workers=2"])
    monkeypatch.setenv("DOVETAIL_FORK", "1")
    loads = count_loads(monkeypatch)
    if not given:
        monkeypatch.setattr("pipelines.runners.choose_workers.count_workers", lambda *_, **__: 2)
    real, began = WorkerProcesses.hand_out, []

    def hand_out(self: WorkerProcesses, variables: Any) -> Any:
        if not began:
            assert self.fork_server is not None
            self.fork_server.begin_call("time:time")  # after the model, which is then not needed
            self.fork_server.end_call()
            (tmp_path / "model.json").rename(tmp_path / "gone")
        began.append(self)
        return real(self, variables)

    monkeypatch.setattr(WorkerProcesses, "hand_out", hand_out)
    tokenize.run([*flags, f"--output={tmp_path / 'forked'}", *(["--workers=2"] if given else [])])
    assert len(began) == 2
    assert len(loads) == (0 if given else 1)
    assert read_shards(tmp_path / "anew") == read_shards(tmp_path / "forked")


def test_what_is_wrong_with_a_model_is_said_as_without_a_fork_server(
    flags: list[str], tmp_path: Path
) -> None:
    (tmp_path / "model.json").write_text('{"no": "model"}')
    said = []
    for count in (1, 2):
        with pytest.raises(UsageError) as raised:
            tokenize.run([*flags, f"--output={tmp_path / 'out'}", f"--workers={count}"])
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert not (tmp_path / "out").exists()


def test_what_the_fork_server_says_to_people_is_said_by_the_launcher(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="dovetail")
    settings = Settings(output="o", workers=2)
    with EarlyStart() as early:
        early.begin(settings, str(tmp_path / "log"))
        assert early.call(Call(f"{HERE}:tell", ("100 %s",)))() == "told"
    assert [record.getMessage() for record in caplog.records] == ["100 %s"]
    assert caplog.records[0].levelname == "WARNING"


def tell(text: str) -> str:
    """Say something to whoever runs a command."""
    logging.getLogger("dovetail").warning("%s", text)
    return "told"


def test_a_run_that_is_refused_leaves_no_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(UsageError), EarlyStart() as early:
        early.begin(Settings(output="o", workers=2), str(log))
        assert log.exists()
        raise UsageError("too little memory")
    assert not log.exists()


def test_an_early_start_that_fails_names_the_log_which_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    named = rf"code 3 \(the workers' log: {log}\)$"
    with pytest.raises(WorkerError, match=named), EarlyStart() as early:
        early.begin(Settings(output="o", workers=2), str(log))
        early.call(Call("os:_exit", (3,)))()
    assert log.exists()


def test_without_worker_processes_a_call_is_done_at_once_and_here(tmp_path: Path) -> None:
    with EarlyStart() as early:
        early.begin(Settings(output="o", workers=1), str(tmp_path / "log"))
        early.call(Call("builtins:setattr", (tell, "mark", 1)))
        assert getattr(tell, "mark", None) == 1
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, False),
        ({"workers": 1}, False),
        ({"workers": 2}, True),
        ({"workers": 2, "direct_running_mode": "multi_threading"}, False),
        ({"direct_running_mode": "multi_processing"}, True),
        ({"workers": 2, "plan": True}, False),
        ({"workers": 2, "runner": "PrismRunner"}, False),
        ({"workers": 0}, True),
    ],
)
def test_it_begins_early_where_flags_say_that_there_will_be_processes(
    given: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.runners.early_start.cores_available", lambda: 2)
    assert _has_processes(Settings(output="o", **given)) is expected


@pytest.mark.parametrize("sampling", ["off", "bpe_dropout"])
def test_a_bpe_model_leaves_no_thread_where_workers_are_forked(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampling: str
) -> None:
    letters = sorted(cut.ByteLevel.alphabet())
    merges = [(letters[i], letters[i + 1]) for i in range(0, 250, 2)]
    pieces = [*letters, *(a + b for a, b in merges)]
    made = Tokenizer(BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    made.pre_tokenizer, made.decoder = cut.ByteLevel(add_prefix_space=False), ByteLevel()
    made.save(str(tmp_path / "tokenizer.json"))
    threads: list[list[str]] = []
    real = WorkerProcesses.hand_out

    def hand_out(self: WorkerProcesses, variables: Any) -> Any:
        assert self.fork_server is not None
        self.fork_server.begin_call("pipelines.runners.fork_server:threads")
        threads.append(self.fork_server.end_call())
        return real(self, variables)

    monkeypatch.setattr(WorkerProcesses, "hand_out", hand_out)
    tokenize.run(
        [
            *flags[:2],
            f"--tokenizer={tmp_path / 'tokenizer.json'}",
            f"--output={tmp_path / 'out'}",
            f"--sampling={sampling}",
            "--workers=2",
        ]
    )
    assert [len(names) for names in threads] == [1, 1]
