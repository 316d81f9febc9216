"""Model files as tables and normalizers: one module per format.

The contract: a loader takes a file's bytes and gives a ``Unigram``, that is

- a ``Vocabulary``: which byte strings match text, what each weighs and which id it gets;
- a ``Normalizer``: from records of text to the byte strings that the vocabulary segments;
- ``decode``: from ids back to text;

or, for a model of another kind, a ``Deterministic``, which gives ids: a ``BPE`` with its tables, or what
else a ``tokenizer.json`` may hold, which can't be sampled. ``load.load`` finds out which format a file
has. Nothing here segments: that is the kernel's.
"""
