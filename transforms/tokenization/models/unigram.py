"""SentencePiece unigram models: ``.model`` files.

Agrees with sentencepiece 0.2.3 (``src/unigram_model.cc``: ``Model``, ``EncodeOptimized``;
``src/sentencepiece_processor.cc``: ``PopulateSentencePieceText``, ``Decode``), whose package normalizes
and decodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import sentencepiece
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from transforms.errors import UsageError
from transforms.kernels.segmentation.charsmap import make_rules
from transforms.kernels.segmentation.laws import UnknownEdge
from transforms.tokenization.models.model import FORMATS, Unigram
from transforms.tokenization.models.sentencepiece_normalizer import SentencePieceNormalizer
from transforms.tokenization.models.vocabulary import SpecialIds, Vocabulary

SPACE = "\u2581"
"""What stands for a space in pieces and in normalized text."""

_UNKNOWN_PENALTY = np.float32(10)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
MODEL_TYPES = {1: "unigram", 2: "BPE", 3: "word", 4: "char"}

# the package has a module of its messages, which wants a newer protobuf than Beam allows; so those
# fields that are needed are described here, as in its ``sentencepiece_model.proto``
_PROTO = {
    "name": "dovetail/sentencepiece.proto",
    "package": "dovetail",
    "message_type": [
        {
            "name": "Piece",
            "field": [
                {"name": "text", "number": 1, "type": "TYPE_BYTES"},
                {"name": "score", "number": 2, "type": "TYPE_FLOAT"},
                {"name": "type", "number": 3, "type": "TYPE_INT32", "default_value": "1"},
            ],
        },
        {
            "name": "Trainer",
            "field": [
                {"name": "model_type", "number": 3, "type": "TYPE_INT32", "default_value": "1"},
                {"name": "whitespace_as_suffix", "number": 24, "type": "TYPE_BOOL"},
                {"name": "byte_fallback", "number": 35, "type": "TYPE_BOOL"},
            ],
        },
        {
            "name": "Normalizer",
            "field": [
                {"name": "charsmap", "number": 2, "type": "TYPE_BYTES"},
                *(
                    {"name": name, "number": number, "type": "TYPE_BOOL", "default_value": "true"}
                    for number, name in enumerate(("prefix", "squeeze", "escape"), 3)
                ),
            ],
        },
        {
            "name": "Model",
            "field": [
                {"name": "pieces", "number": 1, "label": "LABEL_REPEATED", "type_name": "Piece"},
                {"name": "trainer", "number": 2, "type_name": "Trainer"},
                {"name": "normalizer", "number": 3, "type_name": "Normalizer"},
            ],
        },
    ],
}


class SentencePiece(Unigram):
    """A SentencePiece unigram model."""

    kind = "a SentencePiece unigram model"
    processor: sentencepiece.SentencePieceProcessor

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text, as sentencepiece does: unknowns become its sign for them."""
        text: str = self.processor.decode(self.check_ids(ids))
        return text


def _message_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor_pb2.FileDescriptorProto(**_PROTO).SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("dovetail.Model"))


_Model = _message_class()


def read_pieces(data: bytes) -> Any:
    """Read a model file: ``pieces``, each with text, score and type, ``trainer`` and ``normalizer``.

    Raises:
        ValueError: the bytes are no such file.
    """
    try:
        model = _Model.FromString(data)
    except DecodeError:
        raise ValueError("it is truncated, or isn't a protocol buffers message") from None
    for number, piece in enumerate(model.pieces):
        if not piece.HasField("text") or not NORMAL <= piece.type <= BYTE:
            raise ValueError(f"piece {number} lacks a text or a known type")
    if not model.pieces:
        raise ValueError("it has no pieces")
    return model


def load(name: str, data: bytes) -> SentencePiece:
    """Load a SentencePiece unigram model.

    Raises:
        UsageError: the file isn't one, or one of another kind; says what it is.
    """
    try:
        read = read_pieces(data)
    except ValueError as error:
        raise UsageError(f"{name}: not a model: {error}; {FORMATS}") from None
    kind = MODEL_TYPES.get(read.trainer.model_type, f"type {read.trainer.model_type}")
    if kind != "unigram":
        raise UsageError(
            f"{name}: expected a unigram or BPE model in a .model file, got a SentencePiece "
            f"{kind} model; pass its tokenizer.json, which may hold any kind"
        )
    processor = processor_of(name, data)
    model = SentencePiece(
        name, vocabulary(name, read, data, processor), normalizer_of(read, processor)
    )
    model.processor = processor
    model.control = control_of(read)
    return model


def normalizer_of(
    read: Any, processor: sentencepiece.SentencePieceProcessor
) -> SentencePieceNormalizer:
    """Return a model's normalizer."""
    spec = read.normalizer
    rules = None
    if not any(
        piece.type == USER_DEFINED for piece in read.pieces
    ):  # of which the kernel knows nothing
        rules = make_rules(
            spec.charsmap,
            prefix=spec.prefix and not read.trainer.whitespace_as_suffix,
            suffix=spec.prefix and read.trainer.whitespace_as_suffix,
            squeeze=spec.squeeze,
            escape=spec.escape,
        )
    return SentencePieceNormalizer(processor, rules)


def control_of(read: Any) -> dict[str, int]:
    """Return the texts of a model's control pieces and of its unknown, each with its id."""
    return {
        piece.text.decode(): number
        for number, piece in enumerate(read.pieces)
        if piece.type in (CONTROL, UNKNOWN) and piece.text
    }


def processor_of(name: str, data: bytes) -> sentencepiece.SentencePieceProcessor:
    """Load a model by the package.

    Raises:
        UsageError: it refuses it.
    """
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=data)
    except RuntimeError as error:
        raise UsageError(
            f"{name}: sentencepiece refuses this model: {error}; fetch the file again"
        ) from None


def vocabulary(
    name: str,
    read: Any,
    data: bytes,
    processor: sentencepiece.SentencePieceProcessor,
) -> Vocabulary:
    """Return the tables of a model: its normal and user-defined pieces match, unused ones don't."""
    normal = [piece.score for piece in read.pieces if piece.type == NORMAL]
    if not normal:
        raise UsageError(f"{name}: expected a unigram model with normal pieces, got none")
    matching = [
        (number, piece)
        for number, piece in enumerate(read.pieces)
        if piece.type in (NORMAL, USER_DEFINED)
    ]
    # what users defined scores above every logarithm, so that it wins (``GetUserDefinedScore``): by
    # its bytes in ``EncodeOptimized``, and by its characters in ``PopulateNodes``, which sampling uses
    scores, sampling_scores = (
        [
            piece.score
            if piece.type == NORMAL
            else float(np.float32(0.1 * (length(piece.text) - 1)))
            for _, piece in matching
        ]
        for length in (len, lambda text: len(text.decode()))
    )
    by_byte = {p.text: n for n, p in enumerate(read.pieces) if p.type == BYTE}
    unk = processor.unk_id()
    return Vocabulary(
        pieces=tuple(piece.text for _, piece in matching),
        log_probs=np.array(scores, np.float64),
        sampling_log_probs=np.array(sampling_scores, np.float64),
        ids=np.array([number for number, _ in matching], np.uint32),
        unit="character",
        unknown=UnknownEdge(
            log_prob=float(np.float32(min(normal)) - _UNKNOWN_PENALTY),
            id=max(unk, 0),  # with bytes to fall back on, a model may have none
            byte_ids=tuple(by_byte[b"<0x%02X>" % byte] for byte in range(256))
            if read.trainer.byte_fallback
            else None,
        ),
        precision="float32",
        special=special_ids(processor),
        size=len(read.pieces),
        digest=hashlib.sha256(data).hexdigest(),
        surfaces=tuple(piece.text for piece in read.pieces),
    )


def special_ids(processor: sentencepiece.SentencePieceProcessor) -> SpecialIds:
    """Return the special ids that a model says."""
    ids = processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id()
    pad, bos, eos, unk = (None if number < 0 else number for number in ids)
    return SpecialIds(
        pad=pad,
        bos=bos,
        eos=eos,
        unk=unk,
        before=() if bos is None else (bos,),
        after=() if eos is None else (eos,),
    )
