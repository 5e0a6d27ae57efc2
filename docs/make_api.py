"""Writes docs/python-api.md, the reference of the Python API, from its docstrings.

python docs/make_api.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from uniaudio_cli import api, kit
from uniaudio_cli.inference import classify, enhance, names, results, resynthesis, speak

TARGET = Path(__file__).with_name("python-api.md")
HEAD = """# Python API

Made by `python docs/make_api.py`; a test checks that it is up to date.

```python
import uniaudio_cli

kit = uniaudio_cli.load()
classifier = kit.classifier("examples/audio/sounds")  # demonstrations are encoded and prefilled once
for result in classifier.classify(["a.wav", "b.wav"]):
    print(result.file, result.label, result.margin) if result.ok else print(result.file, result.error)
```

A session (`Classifier`, `Speaker`, `Resynthesizer`, `Enhancer`) encodes its demonstrations once and then serves any
number of inputs. An input is a path (`str` or `Path`), bytes, an open binary file, or a pair of samples (`float32 [T]`
or `[C, T]`) and their rate in Hz. Every input gives one result; one that fails gives an `ErrorResult` and never ends
the batch. One `Kit` serves many threads: sessions take turns by a re-entrant lock.

Importing `uniaudio_cli` loads neither torch nor a model.
"""
MEMBERS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (api.load, ()),
    (api.load_zero_shot, ()),
    (api.load_enhancer, ()),
    (
        kit.Kit,
        ("classifier", "zero_shot", "speaker", "resynthesizer", "session", "classify", "speak", "resynthesize"),
    ),
    (classify.Classifier, ("classify", "classify_batch", "prepare", "context_budgets", "render_prompt")),
    (names.ZeroShotClassifier, ("classify", "classify_batch", "tag", "label", "prepare", "render_prompt")),
    (speak.Speaker, ("speak", "stream", "plan_answer", "render_prompt")),
    (enhance.Enhancer, ("enhance", "open", "stream")),
    (enhance.EnhancementStream, ("push", "finish")),
    (resynthesis.Resynthesizer, ("enhance", "render_prompt")),
    (results.LabelResult, ()),
    (results.SpeechResult, ()),
    (results.EnhancementResult, ()),
    (results.ErrorResult, ()),
)


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    for member, methods in MEMBERS:
        parts.append(f"## {member.__name__}\n\n{_entry(member.__name__, member)}")
        for name in methods:
            method = inspect.getattr_static(member, name)
            parts.append(f"### {member.__name__}.{name}\n\n{_entry(f'{member.__name__}.{name}', method)}")
    return "\n".join(parts)


def _entry(name: str, member: Any) -> str:
    signature = str(inspect.signature(member)).replace("(self, ", "(").replace("(self)", "()").replace("'", "")
    signature = re.sub(
        r"<function .*?> at 0x[0-9a-f]+>|<function .*? at 0x[0-9a-f]+>", "...", signature
    )  # a default that is a function
    fields = signature.split(" -> ")[0] if inspect.isclass(member) else signature
    return f"```python\n{_wrapped(name, fields)}\n```\n\n{_text(inspect.getdoc(member) or '')}\n"


def _wrapped(name: str, signature: str) -> str:
    """A signature on one line where it fits, else one argument a line."""
    if len(name + signature) <= 100:
        return name + signature
    inside, depth, arguments, start = signature[1 : signature.rindex(")")], 0, [], 0
    for place, char in enumerate(inside):
        depth += char in "([{"
        depth -= char in ")]}"
        if char == "," and not depth:
            arguments.append(inside[start:place].strip())
            start = place + 1
    arguments.append(inside[start:].strip())
    lines = "".join(f"    {argument},\n" for argument in arguments)
    return f"{name}(\n{lines}{signature[signature.rindex(')') :]}"


def _text(doc: str) -> str:
    """A docstring as Markdown: its Args, Returns and Raises as definition blocks."""
    lines = []
    for line in doc.splitlines():
        if line.rstrip() in ("Args:", "Returns:", "Raises:", "Yields:"):
            lines += ["", f"**{line.rstrip(':')}**", ""]
        else:
            lines.append(line.strip() if line.startswith("    ") else line)
    return "\n".join(lines).strip()


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
