"""One module per file format, read and write side by side.

The contract, which ``tests/transforms/formats/test_contract.py`` holds each format to:

- A ``Reader`` reads one span of a file. Iterated, it yields what is ``Found``: good records as a block
  with positions and hashes, bad ones beside it. Spans of bytes that tile a file give each record once; a
  file that can't be read from its middle is read whole by the span that begins it. Afterwards the
  records account for the whole file: ``covered`` over its spans adds up to ``whole``.
- A ``Writer`` takes blocks and writes the same file however they are cut, and ``write`` returns hashes
  of what is written.
- Damage that the format can show is a DataError with file and place.
"""
