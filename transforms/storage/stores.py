"""Stores: what fsspec serves beside local disks, with options, and tried again where it fails.

Every request to a store is made here. One that fails for a reason that may pass is tried again;
one that failed for good raises a StoreError that names the URL and what to do. Only two errors of
Python's own come through: FileNotFoundError and FileExistsError, which callers expect.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import fsspec

from transforms.errors import DovetailError, PassingError, StoreError, UsageError

T = TypeVar("T")
ATTEMPTS = 5
_LIMIT = 60.0  # seconds after a first failure in which work is begun again: clients try themselves
_WAIT = (
    "DOVETAIL_RETRY_WAIT"  # seconds before the second attempt, each later wait is 3 times as long
)

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "hf": "hf"}
_WITH_HOSTS = frozenset(("webhdfs", "hdfs", "sftp", "ssh", "ftp", "smb"))
"""Protocols whose URLs name a host, which fsspec takes as an option and leaves out of paths."""
_ALIASES = {"s3a": "s3", "gcs": "gs"}
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, ~/.aws, the machine's role; "
    '--storage_options=\'{"s3": {"anon": true}}\' for public buckets',
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud's application default credentials, the machine's "
    'service account; --storage_options=\'{"gs": {"token": "anon"}}\' for public buckets',
    "hf": "HF_TOKEN, or the login of `hf auth login`",
}
_REFUSALS = (
    "forbidden",
    "credential",
    "accessdenied",
    "access denied",
    "unauthorized",
    "authentication",
    "invalidaccesskeyid",
)
_PERMANENT = {
    errno.EINVAL,
    errno.EPERM,
    errno.ENOSYS,
    errno.ENAMETOOLONG,
    errno.EMSGSIZE,
    errno.EISDIR,
    errno.ENOTDIR,
    getattr(errno, "EREMCHG", errno.EINVAL),  # a permanent redirect, in s3fs
}
_DAMAGED_ON_THE_WAY = ("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch")
_CLIENTS = (
    "aiohttp",
    "aiobotocore",
    "asyncio",
    "botocore",
    "fsspec",
    "gcsfs",
    "google",
    "httpcore",
    "httpx",
    "httpx2",
    "requests",
)


_lock = threading.RLock()
_options: dict[str, Any] = {}
_holders: list[str] = []  # runs that need the options as they are
_stores: dict[str, Store] = {}


def configure(options: Mapping[str, Any] | None) -> None:
    """Set the fsspec options of this process's stores: flat, or by protocol; None changes nothing.

    >>> configure({"s3": {"anon": True}, "gs": {"token": "anon"}})
    """
    with _lock:
        if options is not None and dict(options) != _options:
            _options.clear()
            _options.update(options)
            _stores.clear()


@contextlib.contextmanager
def configured(options: Mapping[str, Any] | None) -> Iterator[None]:
    """Set the options for the time of a run; None is without any.

    Raises:
        UsageError: another run in this process holds others.
    """
    asked = dict(options or {})
    with _lock:
        if _holders and asked != _options:
            raise UsageError(
                "--storage_options: another run in this process is using other options; run them "
                "one after the other, or in separate processes"
            )
        configure(asked)
        _holders.append("run")
    try:
        yield
    finally:
        with _lock:
            _holders.pop()


def by_protocol(options: Mapping[str, Any]) -> bool:
    """Return whether options are given by protocol: some of their names are protocols."""
    known = {*fsspec.registry, *fsspec.available_protocols()}
    return any(name in known and isinstance(value, Mapping) for name, value in options.items())


def _options_for(protocols: tuple[str, ...]) -> dict[str, Any]:
    if not by_protocol(_options):
        return dict(_options)
    return {k: v for name in protocols for k, v in _options.get(name, {}).items()}


def store_of(url: str) -> tuple[Store, str]:
    """Return the store of a URL, one object for all URLs of a protocol and host, and the path inside it.

    Raises:
        UsageError: nothing serves such URLs, or not with the options given.
    """
    protocol, _, rest = url.partition("://")
    root = f"{protocol}://"
    if protocol in _WITH_HOSTS:
        root += rest.partition("/")[0] + "/"
    with _lock:
        if root not in _stores:
            _stores[root] = Store(_open_filesystem(protocol, url), protocol, root)
        store = _stores[root]
    return store, str(store.raw._strip_protocol(url))


def _open_filesystem(protocol: str, url: str) -> Any:
    try:
        cls = fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        how = f"; run pip install 'dovetail-data[{extra}]'" if extra else f" ({error})"
        raise UsageError(
            f"{url}: {protocol}:// needs a package that isn't installed{how}"
        ) from None
    except ValueError as error:
        raise UsageError(f"{url}: expected a path or a URL that fsspec knows: {error}") from None
    names = (cls.protocol,) if isinstance(cls.protocol, str) else tuple(cls.protocol)
    options = _options_for(names)
    if (
        "http" in names
    ):  # bytes as they lie there, of which ranges are asked: not compressed on the way
        raw = {
            "client_kwargs": {"auto_decompress": False},
            "headers": {"Accept-Encoding": "identity"},
        }
        options = {**raw, **options}
    if "s3" in names:  # fewer attempts of its own: ours go around them
        options = {"config_kwargs": {"retries": {"max_attempts": 3, "mode": "standard"}}, **options}
    if protocol in _WITH_HOSTS:
        options = {**cls._get_kwargs_from_urls(url), **options}
    try:
        # listings that are kept would not show what other processes write
        fs = cls(skip_instance_cache=True, use_listings_cache=False, **options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{url}: {protocol}:// does not take --storage_options: {error}") from None
    except Exception as error:
        raise UsageError(str(_explain(error, url))) from error
    if "s3" in names:
        fs.retries = 3
    return fs


class Store:
    """An fsspec filesystem whose calls are tried again and raise our errors.

    Attributes:
        raw: the filesystem itself.
        protocol: of its URLs.
        root: what they begin with, the host too where there is one.
    """

    def __init__(self, raw: Any, protocol: str, root: str) -> None:
        self.raw = raw
        self.protocol = protocol
        self.root = root

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.raw, name)
        if not callable(found) or "strip_protocol" in name:
            return found

        @functools.wraps(found)
        def again(path: str, *args: Any, **kwargs: Any) -> Any:
            url = self.url(path)
            return retry(lambda: request(lambda: found(path, *args, **kwargs), url), url)

        return again

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        if "://" in path:  # http's paths are whole URLs
            return path
        return self.root + str(path).lstrip("/")

    def unstrip_protocol(self, path: str) -> str:
        """Return the URL of a path, by the first of a protocol's names where there is no host."""
        named = self.protocol in _WITH_HOSTS
        return self.url(path) if named else str(self.raw.unstrip_protocol(path))

    # fsspec's own answer no where a request fails

    def exists(self, path: str) -> bool:
        """Return whether there is a file or a folder."""
        return self._type(path) is not None

    def isfile(self, path: str) -> bool:
        """Return whether there is a file."""
        return self._type(path) == "file"

    def isdir(self, path: str) -> bool:
        """Return whether there is a folder: a prefix of files."""
        return self._type(path) == "directory"

    def _type(self, path: str) -> str | None:
        try:
            return str(self.info(path)["type"])
        except FileNotFoundError:
            return None

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is fine."""
        with contextlib.suppress(FileNotFoundError):
            self.rm_file(path)


def request(work: Callable[[], T], url: str) -> T:
    """Make one request.

    Raises:
        FileNotFoundError, FileExistsError: as they are.
        StoreError: all else, with what to do about it.
    """
    try:
        return work()
    except FileNotFoundError as error:
        # fsspec's http takes any failure for that
        if isinstance(error.__cause__, Exception) and not _says_missing(error.__cause__):
            raise _explain(error.__cause__, url) from error
        raise
    except (DovetailError, FileExistsError):
        raise
    except Exception as error:
        raise _explain(error, url) from error


def retry(work: Callable[[], T], url: str) -> T:
    """Do a unit of work, again where a request in it failed for a reason that may pass.

    Up to ATTEMPTS times, at growing distances, none begun later than a minute after the first
    failure: what took hours until then is tried once more all the same.

    Raises:
        StoreError: it went on failing.
    """
    failed, wait = None, float(os.environ.get(_WAIT, "1"))
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except PassingError as error:
            now = time.monotonic()
            failed = now if failed is None else failed
            if attempt == ATTEMPTS or now - failed > _LIMIT:
                raise StoreError(
                    f"{error} (tried {attempt} times); check that the store can be reached, and "
                    "run again"
                ) from error
        time.sleep(wait * 3 ** (attempt - 1))
    raise AssertionError(f"{url}: not reached")


def _says_missing(error: Exception) -> bool:
    """Return whether an answer came at all, and said that there is nothing."""
    return type(error).__module__.split(".")[0] != "aiohttp" or _status(error) in (404, 410)


def _status(error: Exception) -> int | None:
    """Return the status of an answer, by whichever client: aiohttp, huggingface_hub, gcsfs."""
    answer = getattr(error, "response", None)
    for holder, name in ((error, "status"), (answer, "status_code"), (error, "code")):
        if isinstance(code := getattr(holder, name, None), int):
            return code
    return None


def _explain(error: Exception, url: str) -> StoreError:
    text = f"{type(error).__name__}: {error}"
    said = text.replace(url, "").replace(url.partition("://")[2], "").lower()
    protocol = url.partition("://")[0]
    if isinstance(error, PermissionError) or any(word in said for word in _REFUSALS):
        where = _CREDENTIALS.get(
            _ALIASES.get(protocol, protocol), "the places that its fsspec filesystem documents"
        )
        return StoreError(
            f"{url}: the store refuses access ({text}); check the permissions and the "
            f"credentials, which Dovetail looks for in: {where}"
        )
    if _may_pass(error):
        return PassingError(f"{url}: the store failed: {text}")
    return StoreError(
        f"{url}: the store refuses the request ({text}); check the URL and --storage_options"
    )


def _may_pass(error: Exception) -> bool:
    response = getattr(error.__cause__, "response", None)  # botocore's, below s3fs's
    if isinstance(response, dict) and response.get("Error", {}).get("Code") in _DAMAGED_ON_THE_WAY:
        return True
    code = _status(error)
    if code is not None and 400 <= code < 500:
        return code in (408, 429)
    if code is not None and 500 <= code < 600:
        return True
    if isinstance(error, OSError | EOFError):
        return error.errno not in _PERMANENT if isinstance(error, OSError) else True
    return type(error).__module__.split(".")[0] in _CLIENTS
