"""What every command does around its work: nobody waits for minutes without a word."""

from __future__ import annotations

import threading

import pytest

from pipelines.jobs import command


def test_a_long_look_at_the_input_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = threading.Event()
    monkeypatch.setattr(command.LOG, "info", lambda text: (said.append(text), heard.set()))
    monkeypatch.setattr(command, "_PATIENCE", 0.0)
    said: list[str] = []
    with command._saying("looking"):
        assert heard.wait(60)
    assert said == ["looking"]


def test_a_short_one_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(command.LOG, "info", said.append)
    with command._saying("looking"):
        pass
    assert said == []
