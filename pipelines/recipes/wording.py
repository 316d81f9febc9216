"""Numbers, sizes and names in words: for messages, plans and summaries."""

from __future__ import annotations

from collections.abc import Sequence

from transforms.kernels.planning.plan import MIB


def write_size(size: int) -> str:
    """Write a number of bytes as one would give it, rounded where nothing else would be short.

    >>> write_size(5), write_size(512 << 20), write_size(10 << 40), write_size(1_500_000_000)
    ('5', '512MiB', '10TiB', '1.397GiB')
    """
    for unit, power in (("T", 4), ("G", 3), ("M", 2)):
        whole = size / 1024**power
        if whole >= 1:
            return f"{whole:.4g}{unit}iB"
    return str(size)


def write_bytes(count: float) -> str:
    """Write an amount of data as one would say it; a rate is as much, with ``/s`` after it.

    >>> write_bytes(1), write_bytes(140), write_bytes(1_175_498), write_bytes(4_000_000_000)
    ('1 byte', '140 bytes', '1.18 MB', '4.00 GB')
    """
    for unit, scale in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return write_count(int(count), "byte")


def write_rate(rate: float) -> str:
    """Write how many bytes of data a second, to three digits; nothing where none moved.

    >>> write_rate(10_000_000), write_rate(1_234_567), write_rate(512_345), write_rate(0)
    ('10 MB/s', '1.23 MB/s', '512 kB/s', '')
    """
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("bytes", 1)):
        number = rate / scale
        if number >= 1:
            return f"{number:.0f} {unit}/s" if number >= 100 else f"{number:.3g} {unit}/s"
    return ""


def write_memory(size: int) -> str:
    """Write an amount of memory as one would say it, to three digits.

    >>> write_memory(190 << 20), write_memory(6_062 << 20), write_memory(5 << 10), write_memory(2 << 40)
    ('190 MiB', '5.92 GiB', '5 KiB', '2 TiB')
    """
    scales = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": MIB, "KiB": 1 << 10}
    unit = next((unit for unit, scale in scales.items() if size >= scale), "KiB")
    number = size / scales[unit]
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"


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
    """Write a share of a whole, which is zero only where it is.

    >>> write_share(0.5), write_share(0.000001), write_share(0)
    ('50.00%', '<0.01%', '0.00%')
    """
    return "<0.01%" if 0 < share < 0.00005 else f"{share:.2%}"


def write_count(count: int, word: str, *, plural: str = "s") -> str:
    """Write how many there are of something.

    >>> write_count(1, "file"), write_count(2000, "file")
    ('1 file', '2,000 files')
    """
    return f"{count:,} {word}{'' if count == 1 else plural}"


def write_list(words: Sequence[str]) -> str:
    """Write several words as one would say them.

    >>> write_list(["a"]), write_list(["a", "b"]), write_list(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    *first, last = words or [""]
    return f"{', '.join(first)} and {last}" if first else last
