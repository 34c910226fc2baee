"""Names as nobody should write them and somebody does: of structures, patients, cases, files, series, models."""

FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+cmd|x",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    " =1+1",
    '"=1+1',
    "'=1+1",
    "''+x",
    "\uff1d1+1",
    "\uff0b\uff0d\uff20",
    "a;=1+1",
    "a\n=1+1",
    'a";=1+1',
    "\u200b=1+1",
    "=A1",
    "-",
)
NUMBERS = ("-7", "+5", "-1.5e-3", "007", "-0,5", "0x1F", "NA", "nan", "1e400")
MARKUP = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "&lt;b&gt; &amp;",
    "{uid}{0}%s",
)
MATHTEXT = (r"$\frac{1}{2}$", r"$\frac$", "$$", "5$ and 3$", r"\alpha_{", "_psoas", "^2_{3}")
LETTERS = (
    "x" * 10_000,
    "long " * 2_000,
    "a\nb",
    "a\x00b\x07\x1b[31m",
    "\u202egnp.exe",
    "\u2066a\u2069",
    "\U0001f600 emoji",
    "腰大肌",
    "e\u0301\u0308" * 3,
    "caf\udce9",
    "\ud800",
)
PATHS = (
    "../../outside",
    "/etc/passwd",
    "C:\\x",
    "CON",
    "nul.txt",
    "a.",
    "a ",
    "a:b",
    "..",
    ".",
    "con .txt",
    "~",
    "COM¹",
)
HOSTILE = (*FORMULAS, *NUMBERS, *MARKUP, *MATHTEXT, *LETTERS, *PATHS)
