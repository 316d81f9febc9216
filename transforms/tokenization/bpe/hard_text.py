"""A text made to be hard for whoever cuts text: what two implementations are compared on."""

from __future__ import annotations

import itertools

_WORDS = (
    *(
        "don't",
        "I'M",
        "we'Ll",
        "they'VE",
        "x's",
        "x\u017f'\u017f",
        "''s",
        "'twas",
        "o'clock'd",
        "'",
        "'r",
    ),
    *(
        "camelCaseHTMLParser",
        "ABCdef",
        "AbC",
        "straße",
        "İstanbul",
        "ǅungla",
        "ʰa",
        "Ωmega",
        "ａＢ",
    ),
    *("1", "12", "123", "1234", "12345678", "1,234.56", "٣٤", "½", "Ⅷ", "²³", "3rd", "a1b2"),
    *("今天天气不错", "あいうえお", "한국어", "ไทย", "हिन्दी", "العربية", "עברית", "தமிழ்"),
    *(
        "e\u0301a\u0301",
        "\u0301x",
        "\u0301",
        "\u0301ABC",
        "A\u0301B\u0301",
        "\u0903",
        "é",
        "\ufb01",
    ),
    *(
        "\u212b",
        "\u1112\u1161\u11ab",
        "😀",
        "👩\u200d👩\u200d👧",
        "🏳\ufe0f\u200d🌈",
        "\u00a0",
        "\u3000",
    ),
    *(
        "\u2028",
        "\u0085",
        "\u200b",
        "\ufeff",
        "\ufffd",
        "\0",
        "_",
        "__init__",
        "a_b",
        "//",
        "/*x*/",
    ),
    *("http://a.b/c?d=e&f#g", "$5.00!!!", "...", "—", "«a»", "#", "\\n", "\t", "{}[]();"),
    *(
        "\u2581",
        "\u2581a\u2581\u2581b",
        "\u0120",
        "</s>",
        "<s>",
        "<unk>",
        "<0x0A>",
        "<|endoftext|>",
    ),
    *("[CLS]", "##ing"),
    # of Unicode 14 to 17: whoever has older tables takes them for other things
    *("\U0001dfff", "\U00011f50", "\U0001e4d0", "\U0002ebf0", "\U00010d4e", "\U00010ec5", "\ua7da"),
    "\U00016d63",
)
_GAPS = (
    "",
    " ",
    "  ",
    "   ",
    "\n",
    "\r\n",
    " \n ",
    "\n\n  ",
    "\t",
    "\t ",
    "\u00a0 ",
    "\u3000",
    "/",
    "\r",
)


def hard_texts() -> list[bytes]:
    """Return some hundred texts, as UTF-8."""
    whole = [word + gap for word, gap in zip(_WORDS, itertools.cycle(_GAPS))]
    reverse = [gap + word for word, gap in zip(reversed(_WORDS), itertools.cycle(_GAPS[::-1]))]
    pairs = [
        "".join(gap.join(_WORDS[i : i + 3]) for i in range(0, len(_WORDS), 7)) + gap
        for gap in _GAPS
    ]
    texts = ["", *_WORDS, *_GAPS, *(a + b for a, b in itertools.pairwise(_GAPS))]
    texts += ["".join(whole), "".join(reverse), *pairs]
    return [text.encode() for text in texts]
