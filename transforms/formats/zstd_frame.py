"""One zstd frame, decoded in bounded memory, and its end told from a cut.

Of python-zstandard's decoders, ``stream_reader`` takes a truncated frame for a whole one, and
``decompressobj`` returns all that its input decodes to (64 KiB of input may be 2 GiB). A block
decodes to 128 KiB at most, so ``decompressobj`` gets a few whole blocks at a time here.
"""

from __future__ import annotations

import zstandard

_BLOCKS = 8  # decoded at a time: with one, streams of tiny blocks would be slow
_BLOCK_HEADER = 3
_RLE = 1


class ZstdFrame:
    """Decoder of one frame, used as ``lzma.LZMADecompressor`` is.

    The layout is that of RFC 8878, section 3.1.1.

    Args:
        window: the largest window, in bytes, that a frame may ask for.

    Attributes:
        eof: the frame's last block and its checksum were read.
        needs_input: no whole block is left of what was given.
        unused_data: what was given beyond the frame's end.
    """

    def __init__(self, window: int) -> None:
        self.eof = False
        self.needs_input = True
        self.unused_data = b""
        self._decoder = zstandard.ZstdDecompressor(max_window_size=window).decompressobj()
        self._held = memoryview(b"")  # given, not yet decoded
        self._in_blocks = False
        self._checksum_size = 0

    def decompress(self, data: bytes, _max_length: int = -1) -> bytes:
        """Take input and return at most 1 MiB of output; the rest comes with the next calls.

        Raises:
            zstandard.ZstdError: the frame is damaged, or its window is too large.
        """
        held = memoryview(b"".join((self._held, data))) if data else self._held
        end = 0 if self._in_blocks else self._header_size(held)
        blocks, last = 0, False
        self.needs_input = True
        if len(held) >= end:
            self._in_blocks = True
            while blocks < _BLOCKS and not last and len(held) >= end + _BLOCK_HEADER:
                header = int.from_bytes(held[end : end + _BLOCK_HEADER], "little")
                size = 1 if header >> 1 & 3 == _RLE else header >> 3
                is_last = bool(header & 1)
                stop = end + _BLOCK_HEADER + size + is_last * self._checksum_size
                if stop > len(held):
                    break
                end, last, blocks = stop, is_last, blocks + 1
            self.needs_input = not last and blocks < _BLOCKS
        else:
            end = 0
        self._held = held[end:]
        out = self._decoder.decompress(held[:end]) if end else b""
        if self._decoder.eof:
            self.eof, self.unused_data = True, bytes(self._held)
        return out

    def _header_size(self, held: memoryview) -> int:
        """Return the size of the frame's header, magic included, or more than was given."""
        if len(held) < 5:
            return 5
        descriptor = held[4]
        single_segment = bool(descriptor & 0x20)
        self._checksum_size = 4 if descriptor & 4 else 0
        content_size = (single_segment, 2, 4, 8)[descriptor >> 6]
        return 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3] + content_size


def dictionary_of(head: bytes) -> str:
    """Say which dictionary a frame needs, by its first 10 bytes; nothing if it names none."""
    size = (0, 1, 2, 4)[head[4] & 3] if len(head) > 4 else 0
    begin = 5 if head[4:5] and head[4] & 0x20 else 6  # a single segment has no window
    number = int.from_bytes(head[begin : begin + size], "little")
    return (
        f"was compressed with dictionary {number}, which isn't in the file; decompress it with that "
        "(zstd -d -D DICTIONARY)"
        if number
        else ""
    )
