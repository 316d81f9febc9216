"""Numbers, sizes and names in words: for messages, plans and summaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transforms.kernels.planning.plan import MIB

_BYTES = (("bytes", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9), ("TB", 10**12))
_MEMORY = (("bytes", 1), ("KiB", 1 << 10), ("MiB", MIB), ("GiB", 1 << 30), ("TiB", 1 << 40))
_SIZES = (("", 1), *_MEMORY[2:])


def write_size(size: int) -> str:
    """Write a number of bytes as one would give it, rounded where nothing else would be short.

    >>> write_size(5), write_size(512 << 20), write_size(10 << 40), write_size(1_500_000_000)
    ('5', '512MiB', '10TiB', '1.397GiB')
    """
    number, unit, _ = _scaled(size, _SIZES, lambda number: _digits(number, 4))
    return f"{number}{unit}"


def write_bytes(count: float) -> str:
    """Write an amount of data as one would say it; a rate is as much, with ``/s`` after it.

    >>> write_bytes(1), write_bytes(140), write_bytes(1_175_498), write_bytes(4_000_000_000)
    ('1 byte', '140 bytes', '1.18 MB', '4.00 GB')
    """
    number, unit, _ = _scaled(count, _BYTES, "{:,.2f}".format)
    return f"{number} {unit}"


def write_part(done: int, total: int) -> str:
    """Write how much of an amount of data is done, both in the same unit.

    >>> write_part(0, 4_000_000_000), write_part(3, 4)
    ('0.0/4.0 GB', '3/4 B')
    """
    number, unit, scale = _scaled(total, (("B", 1), *_BYTES[1:]), "{:.1f}".format)
    return f"{done / scale:.{int(scale > 1)}f}/{number} {unit}"


def write_rate(rate: float) -> str:
    """Write how many bytes of data a second, to three digits; nothing where none moved.

    >>> write_rate(10_000_000), write_rate(1_234_567), write_rate(512_345), write_rate(0)
    ('10 MB/s', '1.23 MB/s', '512 kB/s', '')
    """
    number, unit, _ = _scaled(rate, _BYTES, lambda number: _digits(number, 3))
    return "" if number == "0" else f"{number} {unit}/s"


def write_memory(size: int) -> str:
    """Write an amount of memory as one would say it, to three digits.

    >>> write_memory(190 << 20), write_memory(6_062 << 20), write_memory(5 << 10), write_memory(2 << 40)
    ('190 MiB', '5.92 GiB', '5 KiB', '2 TiB')
    """
    number, unit, _ = _scaled(size, _MEMORY, lambda number: _digits(number, 3))
    return f"{number} {unit}"


def _scaled(
    number: float, units: Sequence[tuple[str, int]], write: Callable[[float], str]
) -> tuple[str, str, int]:
    """Return a number as text in the unit that suits it once it is rounded, the unit, and its scale.

    Args:
        number: to be written.
        units: and how many each stands for, small ones first; the first, whole numbers of which are
            written, for one.
        write: makes text of a number of a larger unit, rounded.
    """
    unit, scale = units[0]
    text = f"{number:.0f}"
    for larger, many in units[1:]:
        if float(text.replace(",", "")) * scale < many:
            break
        unit, scale = larger, many
        text = write(number / scale)
    return text, "byte" if (text, unit) == ("1", "bytes") else unit, scale


def _digits(number: float, digits: int) -> str:
    """Write a number to some digits, none of them left out before the point."""
    return f"{number:.0f}" if number >= 10 ** (digits - 1) else f"{number:.{digits}g}"


def write_seconds(seconds: float) -> str:
    """Write how long something took.

    >>> write_seconds(0.01), write_seconds(2.34), write_seconds(75), write_seconds(7384)
    ('less than 0.1 s', '2.3 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 0.1:
        return "less than 0.1 s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def write_share(share: float) -> str:
    """Write a share of a whole, which is nothing or all only where it is.

    >>> write_share(0.5), write_share(0.000001), write_share(0), write_share(0.999999)
    ('50.00%', '<0.01%', '0.00%', '>99.99%')
    """
    written = f"{share:.2%}"
    if written == "0.00%" and share > 0:
        return "<0.01%"
    return ">99.99%" if written == "100.00%" and share < 1 else written


def write_count(count: int, word: str, *, plural: str = "s") -> str:
    """Write how many there are of something.

    >>> write_count(1, "file"), write_count(2000, "file")
    ('1 file', '2,000 files')
    """
    return f"{count:,} {word}{'' if count == 1 else plural}"


def write_epochs(epochs: Sequence[int], *, most: int) -> str:
    """Write which epochs there are: a range, or ``most`` of them where they aren't consecutive.

    >>> write_epochs([3], most=2), write_epochs(range(14), most=2), write_epochs([0, 2, 5], most=2)
    ('epoch 3', 'epochs 0 to 13', 'epochs 0, 2 and 1 more')
    """
    if len(epochs) == 1:
        return f"epoch {epochs[0]}"
    if epochs and list(epochs) == list(range(epochs[0], epochs[0] + len(epochs))):
        return f"epochs {epochs[0]} to {epochs[-1]}"
    more = f" and {len(epochs) - most:,} more" if len(epochs) > most else ""
    return f"epochs {', '.join(map(str, epochs[:most]))}{more}"


def write_list(words: Sequence[str]) -> str:
    """Write several words as one would say them.

    >>> write_list(["a"]), write_list(["a", "b"]), write_list(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    *first, last = words or [""]
    return f"{', '.join(first)} and {last}" if first else last
