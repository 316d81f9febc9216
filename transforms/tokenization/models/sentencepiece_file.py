"""What a SentencePiece ``.model`` says of its pieces.

The sentencepiece package has a module of its messages, which wants a newer protobuf than Beam allows; so
those fields that are needed are described here, as in its ``sentencepiece_model.proto``.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
MODEL_TYPES = {1: "unigram", 2: "BPE", 3: "word", 4: "char"}

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
                {"name": "byte_fallback", "number": 35, "type": "TYPE_BOOL"},
            ],
        },
        {
            "name": "Model",
            "field": [
                {"name": "pieces", "number": 1, "label": "LABEL_REPEATED", "type_name": "Piece"},
                {"name": "trainer", "number": 2, "type_name": "Trainer"},
            ],
        },
    ],
}


def _message_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor_pb2.FileDescriptorProto(**_PROTO).SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("dovetail.Model"))


_Model = _message_class()


def read(data: bytes) -> Any:
    """Read a model file: its ``pieces``, each with text, score and type, and its ``trainer``.

    Raises:
        ValueError: the bytes are no such file.
    """
    try:
        model = _Model.FromString(data)
    except DecodeError:
        raise ValueError("it is cut off, or no message of protocol buffers") from None
    for number, piece in enumerate(model.pieces):
        if not piece.HasField("text") or not NORMAL <= piece.type <= BYTE:
            raise ValueError(f"piece {number} has not a text and a known type")
    if not model.pieces:
        raise ValueError("it has no pieces")
    return model
