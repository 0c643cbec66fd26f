import unicodedata

from datamodules.text import printable


def test_what_could_steer_a_terminal_or_reorder_a_line_becomes_an_escape():
    assert printable("a\x1b[2Jb\x9b31mc\r\n") == r"a\x1b[2Jb\x9b31mc\r\n"
    assert printable("\u202egnp.exe \u2067x\u2069 \u200f") == r"\u202egnp.exe \u2067x\u2069 \u200f"
    assert printable("\udcff \u2028 \U000e0041") == r"\udcff \u2028 \U000e0041"


def test_no_control_character_or_bidirectional_mark_of_unicode_is_left():
    marks = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    everything = [chr(code) for code in range(0x110000)]
    unsafe = [c for c in everything if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    unsafe += [c for c in everything if unicodedata.bidirectional(c) in marks] + ["\u200e", "\u200f", "\u061c"]
    assert all(printable(c).isascii() and printable(c).isprintable() for c in unsafe)


def test_words_of_any_script_stay_as_they_are():
    hebrew, persian = "\u05d7\u05ea\u05d5\u05dc", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    for text in ("caf\u00e9", "\u732b", persian, hebrew, "\U0001f468\u200d\U0001f469"):
        assert printable(text) == text
