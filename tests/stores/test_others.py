"""Google's protocol, memory, hf, and what can't be used: through the same doors."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import os
import socket
import sys
import threading
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

import pipelines.verify
from tests.pipelines.support import make_lines, read_tree, run, write_tree
from tests.stores.conftest import forget_stores, put, tree
from transforms.datasets.listing import list_source
from transforms.errors import InputError, StoreError, UsageError
from transforms.storage import files as storage

CORPUS = {"a.txt": make_lines(300), "b/c.txt": make_lines(200, name="q")}
GS = {"gs": {"token": "anon"}}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_stores()
    yield
    forget_stores()


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    """The shards of the corpus, made on local disks."""
    write_tree(tmp_path / "in", CORPUS)
    run(f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'local'}", "--num_shards=2")
    return {k: v for k, v in read_tree(tmp_path / "local").items() if k.startswith("data/")}


def shards(url: str) -> dict[str, bytes]:
    return {name: data for name, data in tree(url).items() if name.startswith("data/")}


@pytest.fixture
def gs(gcs_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process, and those it starts, use the emulator."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{gcs_port}")
    monkeypatch.setenv("DOVETAIL_RETRY_WAIT", "0.01")
    storage.configure(GS)


def test_from_gs_to_gs_with_processes_is_byte_for_byte_from_disk_to_disk(
    gs: None, expected: dict[str, bytes]
) -> None:
    put("gs://bucket/in", CORPUS)
    flags = "--input=gs://bucket/in", "--output=gs://bucket/out", "--num_shards=2"
    options = f"--storage_options={json.dumps(GS)}"
    run(*flags, options, "--workers=2")
    assert shards("gs://bucket/out") == expected
    pipelines.verify.run(["gs://bucket/out", options])
    with pytest.raises(UsageError, match="holds a dataset"):
        run(*flags, options)
    run(*flags, options, "--overwrite")
    assert set(tree("gs://bucket/out")) == {*expected, "manifest.json"}
    with pytest.raises(UsageError, match="no such bucket"):
        run(flags[0], "--output=gs://not-there/out", options)


def test_a_large_object_goes_up_to_gs_in_parts(gs: None) -> None:
    data = os.urandom(1 << 20) * 20
    with storage.open_write("gs://bucket/large/x") as file:
        storage.write_all(file, data)
        assert tree("gs://bucket/large") == {}
    assert storage.read_all("gs://bucket/large/x") == data


def test_memory_works_in_one_process(expected: dict[str, bytes]) -> None:
    put("memory://m/in", CORPUS)
    flags = "--input=memory://m/in", "--output=memory://m/out", "--num_shards=2"
    run(*flags, "--temp_location=memory://m/t")
    assert shards("memory://m/out") == expected
    assert {name.partition("/")[0] for name in tree("memory://m")} == {"in", "out"}


@pytest.mark.parametrize("flag", ["--input", "--output", "--temp_location"])
def test_memory_is_refused_for_several_processes_which_each_have_their_own(
    tmp_path: Path, flag: str
) -> None:
    put("memory://n/in", CORPUS)
    write_tree(tmp_path / "in", CORPUS)
    flags = {"--input": str(tmp_path / "in"), "--output": str(tmp_path / "o")}
    flags |= {flag: f"memory://n/{'in' if flag == '--input' else 'x'}"}
    given = [f"{name}={url}" for name, url in flags.items()]
    with pytest.raises(UsageError, match=rf"{flag}=memory://.*one process.*--workers=1"):
        run(*given, "--workers=2")
    run(*given, "--workers=2", "--direct_running_mode=multi_threading")


class StandIn(MemoryFileSystem):  # type: ignore[misc]  # fsspec is untyped
    """Stands where Hugging Face's filesystem would: its paths, without the network."""

    protocol = "hf"
    store: dict[str, Any] = {}  # noqa: RUF012  # shared by all instances, as a store is
    pseudo_dirs = [""]  # noqa: RUF012  # shared by all instances, as a store is


def test_hf_paths_are_read_like_any(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fsspec.get_filesystem_class("hf").__name__ == "HfFileSystem"
    monkeypatch.setitem(_registry, "hf", StandIn)
    put("hf://datasets/somebody/poems/data", CORPUS)
    found = list_source("s", ["hf://datasets/somebody/poems/data"])
    assert [file.name for file in found] == list(CORPUS)
    run(
        "--input=hf://datasets/somebody/poems/data/**",
        f"--output={tmp_path / 'o'}",
        "--num_shards=2",
    )
    assert {k: v for k, v in read_tree(tmp_path / "o").items() if k in expected} == expected


@pytest.mark.parametrize("protocol", ["hf", "https"])
@pytest.mark.parametrize("flag", ["--output", "--temp_location"])
def test_where_one_can_only_read_nothing_is_written(
    tmp_path: Path, protocol: str, flag: str
) -> None:
    write_tree(tmp_path / "in", CORPUS)
    flags = {"--output": str(tmp_path / "o"), flag: f"{protocol}://datasets/x"}
    with pytest.raises(UsageError, match=rf"{flag}={protocol}://datasets/x: .*reading only"):
        run(f"--input={tmp_path / 'in'}", *(f"{name}={url}" for name, url in flags.items()))


def test_a_missing_package_is_named_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for protocol, extra, module in (("s3", "s3", "s3fs"), ("gs", "gcs", "gcsfs")):
        monkeypatch.setitem(sys.modules, module, None)
        for name in ("s3", "s3a", "gs", "gcs"):
            monkeypatch.delitem(_registry, name, raising=False)
        with pytest.raises(
            UsageError, match=rf"--input={protocol}://b/x.*'dovetail-data\[{extra}\]'"
        ):
            run(f"--input={protocol}://b/x", f"--output={tmp_path / 'o'}")


@pytest.mark.parametrize(
    ("options", "entry"),
    [
        ({"key": "AK"}, "key"),
        ({"s3": {"secret": "x"}}, "s3.secret"),
        ({"s3": {"client_kwargs": {"aws_secret_access_key": "x"}}}, "aws_secret_access_key"),
        ({"s3": {"client_kwargs": {"aws_session_token": "x"}}}, "aws_session_token"),
        ({"gs": {"token": "/home/me/x.json"}}, "gs.token"),
        ({"gs": {"token": {"private_key": "x"}}}, "gs.token"),
        ({"account_key": "x"}, "account_key"),
        ({"connection_string": "x"}, "connection_string"),
        ({"sas_token": "x"}, "sas_token"),
        ({"Password": "x"}, "Password"),
        ({"credential": "x"}, "credential"),
        ({"a": [{"b": {"api_key": "x"}}]}, "a.b.api_key"),
        ({"client_kwargs": {"endpoint_url": "http://me:x@127.0.0.1"}}, "endpoint_url"),
    ],
)
def test_an_option_that_looks_like_a_secret_is_refused_and_not_repeated(
    tmp_path: Path, options: dict[str, Any], entry: str
) -> None:
    hidden = json.dumps(options).replace('"x"', '"hunter2"').replace("me:x@", "me:hunter2@")
    for words in (
        ["--input=s3://b/x", f"--output={tmp_path / 'o'}"],
        [str(tmp_path)],
    ):
        python = "pipelines.verify" if len(words) == 1 else "pipelines.shuffle"
        with pytest.raises(
            UsageError, match=rf"the entry \S*{entry} looks like.*AWS_ACCESS"
        ) as caught:
            sys.modules[python].run([*words, f"--storage_options={hidden}"])
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"anon": True},
        {"s3": {"anon": True, "endpoint_url": "http://127.0.0.1:1"}, "gs": {"token": "anon"}},
        {"client_kwargs": {"endpoint_url": "http://127.0.0.1:1", "region_name": "eu-west-1"}},
        {"s3_additional_kwargs": {"SSEKMSKeyId": "alias/x", "ServerSideEncryption": "aws:kms"}},
        {"profile": "work", "requester_pays": True, "use_ssl": False},
        {},
    ],
)
def test_options_that_are_none_are_taken(options: dict[str, Any]) -> None:
    from pipelines.recipes.store_options import parse_storage_options

    assert parse_storage_options(json.dumps(options)) == options


@pytest.mark.parametrize(
    "given", ["", "{", "[]", "3", '"x"', '{"s3": {"anon": true}, "anon": true}']
)
def test_options_that_are_no_object_are_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(UsageError, match="--storage_options: expected"):
        run("--input=s3://b/x", f"--output={tmp_path / 'o'}", f"--storage_options={given}")


@pytest.mark.parametrize(
    "url",
    ["s3://AKIA:hunter2@b/x", "https://me@host/x", "https://host/x?a=1&X-Amz-Signature=hunter2"],
)
@pytest.mark.parametrize("flag", ["--input", "--output", "--temp_location"])
def test_a_secret_in_a_url_is_refused_and_not_repeated(flag: str, url: str) -> None:
    flags = {"--input": "x", "--output": "o", flag: url}
    with pytest.raises(UsageError, match=rf"{flag}=.*secret.*AWS_ACCESS_KEY_ID") as caught:
        run(*(f"{name}={value}" for name, value in flags.items()))
    assert "hunter2" not in str(caught.value)


def test_options_are_for_their_protocol_alone_or_for_all() -> None:
    seen = []

    class Kept(MemoryFileSystem):  # type: ignore[misc]  # fsspec is untyped
        protocol = ("kept", "kept2")

        def __init__(self, **options: Any) -> None:
            seen.append({k: v for k, v in options.items() if k in ("one", "two")})
            super().__init__(**options)

    for name in Kept.protocol:
        fsspec.register_implementation(name, Kept, clobber=True)
    for options, expected in (
        ({"one": 1}, {"one": 1}),
        ({"kept": {"one": 1}, "s3": {"two": 2}}, {"one": 1}),
        ({"kept2": {"two": 2}}, {"two": 2}),
        ({"s3": {"two": 2}}, {}),
    ):
        storage.configure(options)
        storage.filesystem("kept://b/x")
        assert seen.pop() == expected
        storage.configure(None)  # changes nothing
        storage.filesystem("kept://b/x")
        assert seen == []


def test_runs_at_once_have_the_same_options() -> None:
    options = {"s3": {"anon": True}}
    refused = pytest.raises(UsageError, match="another run in this process is using other options")
    with (
        storage.configured(options),
        storage.configured(options),
        refused,
        storage.configured(None),
    ):
        pass
    with storage.configured(None):
        pass


def test_work_in_parallel_keeps_its_order_and_its_limit() -> None:
    begun: list[int] = []
    taken = storage.in_parallel(lambda i: (begun.append(i), i * i)[1], range(100), limit=4)
    assert next(taken) == 0
    assert len(begun) <= 5
    assert list(taken) == [i * i for i in range(1, 100)]
    with pytest.raises(ZeroDivisionError):
        list(storage.in_parallel(lambda i: 1 // i, [1, 0, 1]))
    assert list(storage.in_parallel(str, [])) == []


@pytest.fixture(params=["s3", "gs"])
def folders(request: pytest.FixtureRequest) -> str:
    """Give a folder on a store with the empty objects that consoles and Hadoop make for folders."""
    if request.param == "s3":
        url = f"{request.getfixturevalue('bucket')}/in"
    else:
        request.getfixturevalue("gs")
        url = f"gs://bucket/{uuid.uuid4().hex}"
    plant(url, {"a.txt": b"1\n", "sub/b.txt": b"2\n", "sub/": b"", "": b"", "sub_$folder$": b""})
    return url


def plant(url: str, objects: dict[str, bytes]) -> None:
    """Put objects by the names given, whose last slash fsspec would take away."""
    raw = storage.filesystem(url)[0].raw
    for name, data in objects.items():
        raw.pipe_file(f"{url.partition('://')[2]}/{name}", data)


@pytest.mark.parametrize("below", ["", "/**", "/*"])
def test_empty_objects_that_stand_for_folders_are_no_files(folders: str, below: str) -> None:
    found = [file.name for file in list_source("s", [folders + below])]
    assert found == (["a.txt"] if below == "/*" else ["a.txt", "sub/b.txt"])


def test_an_object_called_as_a_folder_that_holds_something_is_named(bucket: str) -> None:
    plant(f"{bucket}/in", {"a.txt": b"1\n", "sub/": b"2\n"})
    with pytest.raises(InputError, match=r"in/sub/: expected an empty object, .* got 2 bytes"):
        list_source("s", [f"{bucket}/in"])


def test_what_google_would_decompress_on_the_way_is_refused_at_once(gs: None) -> None:
    raw = storage.filesystem("gs://bucket")[0].raw
    metadata = {"content_encoding": "gzip"}
    raw.pipe_file("bucket/encoded/a.txt", gzip.compress(b"1\n"), fixed_key_metadata=metadata)
    for pattern in ("gs://bucket/encoded", "gs://bucket/encoded/a.txt"):
        with pytest.raises(
            InputError,
            match=r"gs://bucket/encoded/a.txt: stored with Content-Encoding: gzip.* objects update",
        ):
            list_source("s", [pattern])


def test_without_a_network_nobody_speaks_of_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOVETAIL_RETRY_WAIT", "0")
    with socket.socket() as held:  # nobody listens there
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/a.txt"
        with pytest.raises(StoreError, match=rf"^{url}: the store failed: Client.*tried 5 times"):
            list_source("s", [url])


def test_what_a_server_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOVETAIL_RETRY_WAIT", "0")
    answers = {"/none": (404, {}), "/no": (403, {}), "/late": (503, {}), "/encoded": (200, GZIP)}
    with answering(answers) as url:
        with pytest.raises(
            InputError, match=rf"--input={url}/none: no file matches; check the URL"
        ):
            list_source("s", [f"{url}/none"])
        with pytest.raises(StoreError, match=rf"^{url}/no: the store refuses .*403"):
            list_source("s", [f"{url}/no"])
        with pytest.raises(
            StoreError, match=rf"^{url}/late: the store failed: .*503.*tried 5 times"
        ):
            list_source("s", [f"{url}/late"])
        with pytest.raises(InputError, match=rf"^{url}/encoded: the server doesn't say how large"):
            list_source("s", [f"{url}/encoded"])


GZIP = {"Content-Encoding": "gzip"}


@contextlib.contextmanager
def answering(answers: Mapping[str, tuple[int, Mapping[str, str]]]) -> Iterator[str]:
    """Serve so on this machine; give the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers = answers[self.path]
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815  # the name that the server looks for

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class WebHdfs(http.server.BaseHTTPRequestHandler):
    """What Hadoop answers of the corpus, as far as reading asks."""

    def do_GET(self) -> None:
        path, query = urllib.parse.unquote(self.path).removeprefix("/webhdfs/v1/").split("?")
        asked = dict(urllib.parse.parse_qsl(query))
        below = {name: data for name, data in CORPUS.items() if f"{name}/".startswith(path)}
        names = dict.fromkeys(name[len(path) :].strip("/").split("/")[0] for name in below)
        body: Any = {"RemoteException": {"exception": "FileNotFoundException", "message": path}}
        if path in CORPUS and asked["op"] == "OPEN":
            begin = int(asked["offset"])
            body = CORPUS[path][begin : begin + int(asked["length"])]
        elif below and asked["op"] == "GETFILESTATUS":
            body = {"FileStatus": self._status(path)}
        elif below:
            inside = [self._status(f"{path.strip('/')}/{name}".lstrip("/")) for name in names]
            body = {"FileStatuses": {"FileStatus": inside}}
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(200 if below else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _status(self, path: str) -> dict[str, Any]:
        size = len(CORPUS.get(path, b""))
        kind = "FILE" if path in CORPUS else "DIRECTORY"
        return {"pathSuffix": path.rpartition("/")[2], "type": kind, "length": size}

    def log_message(self, *args: Any) -> None:
        pass


def test_a_url_of_webhdfs_names_its_host(tmp_path: Path, expected: dict[str, bytes]) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), WebHdfs) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"webhdfs://127.0.0.1:{server.server_port}"
        listed = list_source("s", [f"{host}/a.txt", f"{host}/b/*"])
        assert [file.url for file in listed] == [f"{host}/a.txt", f"{host}/b/c.txt"]
        run(f"--input={host}/", f"--output={tmp_path / 'o'}", "--num_shards=2")
        server.shutdown()
    assert {k: v for k, v in read_tree(tmp_path / "o").items() if k.startswith("data/")} == expected


def test_a_source_is_on_this_machine_or_on_a_store(tmp_path: Path, bucket: str) -> None:
    write_tree(tmp_path, {"a.txt": b"1\n"})
    put(bucket, {"b.txt": b"2\n"})
    with pytest.raises(
        InputError,
        match=r"source s: expected files with a common folder.* some on this machine and some",
    ):
        list_source("s", [str(tmp_path), bucket])
