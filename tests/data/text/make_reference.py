#!/usr/bin/env python3
"""Writes cleaning.json: what ftfy and Python's standard library make of made-up texts, and their code pages.

    pip install ftfy==6.3.1
    python make_reference.py > cleaning.json
"""
import html
import json
import random

import ftfy
import ftfy.badness
import ftfy.chardata

PHRASES = """
A red dog and a green cat
a photo of an astronaut riding a horse on mars, highly detailed, 8k
It's 42 & counting... don't panic!
CAFÉ crème brûlée, naïve résumé, señor, Ångström, straße, żółć, Œuvre d'œil
“curly quotes” ‘single’ — dash – en … ellipsis • bullet 50 € £5 ¥9 ½ ² 20° 2×3 ™ ® © « guillemets »
ﬁne ﬂow oﬃce ﬆ ŉ Ǆ ĳ
ＦＵＬＬ　ＷＩＤＴＨ ｶﾀｶﾅ ﾊﾟ ￦
живопись КОТ и собака
Ελληνικά ΣΊΣΥΦΟΣ Οδυσσεύς
שלום עולם
مرحبا بالعالم
हिन्दी में ภาษาไทย
猫と犬、一只猫坐在垫子上 고양이
😀 👍🏽 👨‍👩‍👧 🇯🇵 ❤️
┌─┐ █▓ box °ò° ʘ‿ʘ
e\u0301 a\u0308\u0323 \u212b \u2126 \u0130stanbul
zero\u200bwidth\u00a0nbsp\u2028line\u2029par\u00adsoft\ufeffbom\u3000wide\u0085next
bell\u0007 null\u0000 esc\u001b[1;31mred\u001b[0m del\u007f vt\u000b ff\u000c cr\rlf\r\n tab\t
&amp; &lt;b&gt; &eacute; &EACUTE; &SZLIG; &nbsp; &#233; &#xE9; &#150; &#0; &#xD800; &#59; &hellip &notit; &nosuch; &amp;amp;
<b>bold &amp; entities stay</b>
voilà le travail, às vezes, à la mode, fácil
Â Ã Ã© â€™ â€œ ï»¿ ƒ ˆ ð √© Ð¿ вЂ Γ© ā€ Ĺ‚ \ufffd \uf8ff
""".strip("\n").split("\n")


def misread(rng, text):
    """UTF-8 decoded with the wrong code page, perhaps with some of the usual damage."""
    encoding = rng.choice(ftfy.chardata.CHARMAP_ENCODINGS + ["latin-1", "sloppy-windows-1252", "sloppy-windows-1252"])
    data = text.encode("utf-8")
    if rng.random() < 0.15:
        data = data.replace(b"\xa0", b" ")
    if rng.random() < 0.1:
        data = bytes(b for b in data if rng.random() > 0.05)
    if rng.random() < 0.1 and encoding.startswith("sloppy"):
        return data.decode(encoding.removeprefix("sloppy-"), errors="replace")
    return data.decode(encoding)


def prompt(rng):
    words = [w for p in rng.sample(PHRASES, rng.randint(1, 3)) for w in p.split(" ")]
    start = rng.randrange(len(words))
    text = " ".join(words[start:start + rng.randint(1, 9)])
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        first, last = sorted(rng.randint(0, len(text)) for _ in range(2))
        if rng.random() < 0.5:
            first, last = 0, len(text)
        text = text[:first] + misread(rng, text[first:last]) + text[last:]
    return html.escape(text) if rng.random() < 0.05 else text


def soup(rng, characters):
    return "".join(rng.choice(characters) if rng.random() < 0.7 else rng.choice("abcXYZ  .,!1\n<&;") for _ in range(rng.randint(1, 14)))


def main():
    rng = random.Random(0)
    pages = {name: "".join(bytes([b]).decode(name) for b in range(256)) for name in ftfy.chardata.CHARMAP_ENCODINGS}
    characters = sorted({c for page in pages.values() for c in page[128:]})
    texts = dict.fromkeys(PHRASES)
    texts.update(dict.fromkeys(prompt(rng) for _ in range(900)))
    texts.update(dict.fromkeys(soup(rng, characters) for _ in range(500)))
    rows = [[t, ftfy.fix_text(t), ftfy.badness.is_bad(t), html.unescape(t), t.lower()] for t in texts]
    print(json.dumps({"versions": {"ftfy": ftfy.__version__}, "pages": pages,
                      "columns": ["text", "fix_text", "is_bad", "html.unescape", "lower"], "rows": rows},
                     separators=(",", ":")).replace("],[", "],\n["))


if __name__ == "__main__":
    main()
