"""BPE models, whatever file they come from: pieces that are merged in an order, without a draw."""

from __future__ import annotations

import abc

from transforms.kernels.arrays import I64, U32
from transforms.tokenization.models.model import Deterministic
from transforms.tokenization.models.texts import Texts


class BPE(Deterministic):
    """A BPE model: of a ``tokenizer.json``, a SentencePiece ``.model`` or a tiktoken file.

    Its tables, for what samples: ``HuggingFaceBPE.document``, ``SentencePieceBPE.data``,
    ``TiktokenBPE.ranks``.
    """

    def encode(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets."""
        return self.encode_by_reference(texts)

    @abc.abstractmethod
    def encode_by_reference(self, texts: Texts) -> tuple[U32, I64]:
        """Return ids and offsets by the package whose file it is; as of ``encode``."""
