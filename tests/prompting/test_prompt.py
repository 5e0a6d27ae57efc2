from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from tests.small_tokenizers import STEMS, WORDS, byte_bpe, sentencepiece, smollm2
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.prompting.context_budget import ContextBudget, context_budget
from uniaudio_cli.prompting.prompt import Audio, Example, Text, build_prompt, render
from uniaudio_cli.prompting.template import Labels, Template, load_template
from uniaudio_cli.prompting.vocabulary import InvalidCodesError, Vocabulary

INSTRUCTION = "For each of the following input output pairs, output is one of [{labels}]"


def task(**values: Any) -> Any:
    """The part of a task that prompts are made of."""
    return SimpleNamespace(
        **{"name": "pets", "input": "audio", "output": "label", "instruction": "", "repeats": 1, **values}
    )


def coarse(*codes: int) -> Audio:
    return Audio((codes,), (0,))


def spelled(vocabulary: Vocabulary, ids: list[int]) -> str:
    return " ".join(vocabulary.tokenizer.token(id) for id in ids)


@pytest.fixture
def bpe() -> Vocabulary:
    return Vocabulary([WORDS], [len(WORDS)], [1], byte_bpe())


@pytest.fixture
def pieces() -> Vocabulary:
    return Vocabulary([WORDS], [len(WORDS)], [1], sentencepiece())


DOG, CAT = Example(coarse(0, 1), Text("dog")), Example(coarse(2), Text("big cat"))
QUERY = coarse(3, WORDS.index("riverstone"))


def test_prompts_of_the_published_scripts_id_for_id(test_data):
    golden = json.loads((test_data / "golden" / "prompt.json").read_text(encoding="utf-8"))
    words = np.load(test_data / "golden" / "llm_codec_tiny" / "words.npy").tolist()
    vocabulary = Vocabulary([words, None, None], [len(words), 32000, 32000], [4, 2, 1], sentencepiece())
    template = load_template("reference")
    for case in golden["cases"]:
        examples = [
            Example(Audio.of(each["codes"], case["levels"]), Text(each["label"])) for each in case["demonstrations"]
        ]
        query = Audio.of(case["query"]["codes"], case["levels"])
        described = task(instruction=INSTRUCTION if case["instruction"] else "")
        assert build_prompt(described, template, examples, query, vocabulary).ids(vocabulary) == case["ids"]
    assert len(golden["cases"]) == 4


def test_reference_encodes_every_piece_by_itself(pieces):
    prompt = build_prompt(
        task(instruction="One of {labels}"), load_template("reference"), [CAT, DOG, DOG], QUERY, pieces
    )
    dog = "▁### <0x0A> Input : ▁< ▁ ▁river ▁stone ▁ ▁> <0x0A> Output : ▁ ▁dog"
    assert spelled(pieces, prompt.prefix_ids(pieces)) == (
        "<s> ▁One ▁of ▁' big ▁cat ' ▁or ▁' dog ' <0x0A> "
        f"▁### <0x0A> Input : ▁< ▁ ▁cloud ▁ ▁> <0x0A> Output : ▁ ▁big ▁cat {dog} {dog}"
    )
    assert spelled(pieces, prompt.query_ids(pieces)) == (
        "▁### <0x0A> Input : ▁< ▁ ▁paper ▁river stone ▁ ▁> <0x0A> Output : ▁"
    )
    assert prompt.prefix_ids(pieces)[-15:] == [
        *(774, 13, 3104, 28747, 523, 28705, 7782, 7253, 28705, 876, 13, 4792, 28747, 28705, 3914)
    ]
    assert spelled(pieces, prompt.continuation("big cat", pieces)) == "▁big ▁cat"
    assert spelled(pieces, prompt.end_ids(pieces)) == "▁### <0x0A> Input : ▁< ▁"


def test_plain_tokenises_text_together(bpe):
    prompt = build_prompt(task(), load_template("plain"), [DOG], QUERY, bpe)
    tokenizer = bpe.tokenizer
    assert prompt.prefix_ids(bpe) == tokenizer.encode("Input: < river stone >\nOutput: dog\n")
    assert prompt.query_ids(bpe) == tokenizer.encode("Input: < paper riverstone >\nOutput:")
    assert prompt.continuation("big cat", bpe) == tokenizer.encode(" big cat")
    assert prompt.end_ids(bpe) == tokenizer.encode("\n")


def test_plain_in_the_tokens_of_smollm2():
    vocabulary = Vocabulary([STEMS], [len(STEMS)], [1], smollm2())
    prompt = build_prompt(task(), load_template("plain"), [DOG], coarse(3), vocabulary)
    assert spelled(vocabulary, prompt.ids(vocabulary)) == (
        "Input : Ġ< Ġriver Ġstone Ġ> Ċ Output : Ġdog Ċ Input : Ġ< Ġpaper Ġ> Ċ Output :"
    )


@pytest.mark.parametrize("name", ["plain", "reference"])
@pytest.mark.parametrize("tokenizer", [byte_bpe, sentencepiece, smollm2])
def test_an_answer_has_the_ids_it_has_in_a_demonstration(name, tokenizer):
    vocabulary = Vocabulary([WORDS], [len(WORDS)], [1], tokenizer())
    for example in (CAT, Example(QUERY, coarse(5, 6))):
        kind = "audio" if isinstance(example.output, Audio) else "label"
        prompt = build_prompt(task(output=kind), load_template(name), [example], example.input, vocabulary)
        answer = example.output if isinstance(example.output, Audio) else example.output.text
        prefix = prompt.query_ids(vocabulary) + prompt.continuation(answer, vocabulary)
        demonstration = prompt.prefix_ids(without_bos(vocabulary))
        assert demonstration[: len(prefix)] == prefix
        rest = demonstration[len(prefix) :]
        assert prompt.end_ids(vocabulary)[: len(rest)] == rest


def without_bos(vocabulary: Vocabulary) -> Vocabulary:
    """The same vocabulary for an LLM without a first token."""
    real = vocabulary.tokenizer
    names = ("encode", "decode", "token", "word_ids", "size")
    without = SimpleNamespace(bos_id=None, eos_id=None, **{name: getattr(real, name) for name in names})
    return Vocabulary([WORDS], [len(WORDS)], [1], without)


def test_audio_answers_begin_after_the_bracket(pieces, bpe):
    spoken = task(input="text", output="audio", instruction="Learn a foreign language")
    examples = [Example(Text("<an audio of 1>"), coarse(0)), Example(Text("<an audio of 2>"), coarse(1))]
    for name, vocabulary, query, end in [
        ("reference", pieces, "###\nInput: ,<an audio of 3>,\nOutput: < ", " >"),
        ("plain", bpe, "Input: <an audio of 3>\nOutput: <", " >\n"),
    ]:
        prompt = build_prompt(spoken, load_template(name), examples, Text("<an audio of 3>"), vocabulary)
        encoded = [id for part in query.split(",") for id in vocabulary.tokenizer.encode(part)]
        assert prompt.query_ids(vocabulary) == encoded
        assert prompt.end_ids(vocabulary) == vocabulary.tokenizer.encode(end)
        assert prompt.continuation(coarse(0, 1), vocabulary) == vocabulary.ids([[0, 1]])
        assert prompt.continues_with == "audio"


def test_the_continuation_template_ends_where_the_query_begins(bpe):
    prompt = build_prompt(task(instruction=INSTRUCTION), load_template("continuation"), [DOG, CAT], QUERY, bpe)
    assert prompt.prefix_ids(bpe) == bpe.tokenizer.encode("Audio: river stone\nAudio: cloud\n")
    assert prompt.query == (Text("Audio:"),)
    assert prompt.continuation(QUERY, bpe) == bpe.tokenizer.encode(" paper riverstone")
    assert prompt.end_ids(bpe) == bpe.tokenizer.encode("\n")
    assert prompt.continues_with == "audio"


def test_repeats_copy_the_demonstrations_in_turn(bpe):
    once, thrice = (
        build_prompt(task(repeats=n, instruction=INSTRUCTION), load_template("plain"), [DOG, CAT], QUERY, bpe)
        for n in (1, 3)
    )
    assert thrice.demonstrations == 3 * once.demonstrations
    assert thrice.prefix == once.instruction + 3 * (once.demonstrations[0] + once.demonstrations[1])
    assert thrice.query == once.query


def test_no_instruction_leaves_everything_else_alone(pieces):
    given, left_out = (
        build_prompt(task(instruction=text), load_template("reference"), [DOG], QUERY, pieces)
        for text in (INSTRUCTION, "")
    )
    assert given.instruction == (Text(INSTRUCTION.replace("{labels}", "'dog'") + "\n"),)
    assert left_out.instruction == ()
    assert (given.demonstrations, given.query) == (left_out.demonstrations, left_out.query)
    assert left_out.prefix_ids(pieces)[:2] == [pieces.tokenizer.bos_id, 774]


def test_labels_are_sorted_once_each_and_may_hold_braces(bpe):
    template = load_template("plain").replace(labels=Labels(quote='"', join=", "))
    examples = [Example(coarse(0), Text(label)) for label in ("mew", "{labels}", "bark", "mew")]
    prompt = build_prompt(task(instruction="{{One}} of {labels}"), template, examples, QUERY, bpe)
    assert prompt.instruction == (Text('{One} of "bark", "mew", "{labels}"\n'),)


@pytest.mark.parametrize(
    ("instruction", "examples", "message"),
    [
        ("One of {labels}", [], "task pets: instruction: no value for {labels}"),
        ("One of {label}", [DOG], "no value for {label}"),
        ("One of {labels", [DOG], "a brace of the text itself is doubled"),
    ],
)
def test_instructions_without_a_value(bpe, instruction, examples, message):
    with pytest.raises(UsageError, match=message):
        build_prompt(task(instruction=instruction), load_template("plain"), examples, QUERY, bpe)


def test_examples_must_be_what_the_task_takes(bpe):
    template = load_template("plain")
    with pytest.raises(ValueError, match="task pets takes audio, not Text"):
        build_prompt(task(), template, [DOG], Text("hello"), bpe)
    with pytest.raises(ValueError, match="task pets takes text, not Audio"):
        build_prompt(task(), template, [Example(coarse(0), coarse(0))], QUERY, bpe)
    with pytest.raises(InvalidCodesError, match="level 0 has codes"):
        build_prompt(task(), template, [DOG], coarse(len(WORDS)), bpe)


def test_audio_of_some_levels():
    codes = [np.array([1]), np.array([2, 3]), np.array([4, 5, 6, 7])]
    assert Audio.of(codes, (0, 2)) == Audio(((1,), (4, 5, 6, 7)), (0, 2))


def test_rendered_prompts(bpe):
    prompt = build_prompt(task(instruction=INSTRUCTION), load_template("plain"), [DOG], QUERY, bpe)
    text = render(prompt, bpe)
    assert "\nInput: < river stone >\nOutput: dog\n" in text
    assert "\nInput: < paper riverstone >\nOutput:\n" in text
    counts = list(map(int, re.findall(r"(\d+) tokens", text)))
    assert counts[-1] == len(prompt.ids(bpe)) == sum(counts[:-1])
    assert text.startswith("--- instruction, ")


def test_a_prompt_that_does_not_fit(pieces):
    prompt = build_prompt(task(repeats=5), load_template("reference"), [DOG, CAT], QUERY, pieces)
    # <s> + ten demonstrations of 15 tokens each + a query of 15.
    length = len(prompt.ids(pieces))
    assert length == 166
    shots = {"one": [0, 0], "two": [0, 1]}
    for given in shots.values():
        context_budget(prompt, pieces, 16, length + 16, given).check()
        with pytest.raises(UsageError, match="the LLM's context holds 181"):
            context_budget(prompt, pieces, 16, length + 15, given).check()
    with pytest.raises(UsageError) as caught:
        context_budget(prompt, pieces, 16, 120, shots["two"]).check()
    assert str(caught.value).startswith(
        "the prompt has 166 tokens, the answer may need 16, and the LLM's context holds 120; "
        "of its 2 shots of about 75 tokens, 1 would fit: give at most 1 shot, "
    )
    with pytest.raises(UsageError, match="of its 1 shots of about 150 tokens, 0 would fit: give fewer"):
        context_budget(prompt, pieces, 16, 120, shots["one"]).check()
    alone = build_prompt(task(), load_template("reference"), [], QUERY, pieces)
    with pytest.raises(UsageError, match="give a shorter clip"):
        context_budget(alone, pieces, 16, 20, []).check()


@pytest.mark.parametrize(
    ("context", "most"), [(0, 0), (14, 0), (15, 1), (34, 1), (35, 2), (49, 2), (50, 3), (64, 3), (65, 4)]
)
def test_the_shots_that_fit(context, most):
    """Shots of 10 and 20 ids, and 5 beside them; a third is counted as 15."""
    budget = ContextBudget((10, 20), 3, 2, context)
    assert budget.most_shots == most
    assert (budget.ids <= context) == (most >= 2)


@pytest.mark.parametrize("name", ["reference", "plain", "continuation"])
def test_shipped_templates_have_the_names_of_their_files(name):
    template = load_template(name)
    assert template.name == name
    assert template.description


GOOD = {"name": "mine", "demonstration": "{input} {output}\n", "query": "{input}", "audio": "{audio}"}


def test_own_template_from_a_path(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump({**GOOD, "labels": {"join": "/"}}), encoding="utf-8")
    assert load_template(path) == Template(**{**GOOD, "labels": Labels(join="/")})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lables": {}}, "unknown key 'lables' (did you mean 'labels'?)"),
        ({"labels": {"quotes": "'"}}, "unknown key 'labels.quotes' (did you mean 'labels.quote'?)"),
        ({"labels": "or"}, "'labels' must be a mapping of keys to values"),
        ({"labels": {"join": 1}}, "'labels.join' must be text, not 1"),
        ({"query": None}, "'query' must be text, not null"),
        ({"bos": "yes"}, "'bos' must be true or false, not 'yes'"),
        ({"tokenise": "words"}, "'tokenise' must be one of pieces, joined, not 'words'"),
        ({"demonstration": "{input} {outptu}"}, "unknown placeholder 'outptu' (did you mean 'output'?)"),
        ({"demonstration": "{output}"}, "the placeholders must be {input} {output} or {input}, in this order"),
        ({"demonstration": "{output} {input}"}, "in this order, not {output} {input}"),
        ({"demonstration": "{input}"}, "query: unknown placeholder 'input'"),
        ({"query": "?"}, "query: the placeholders must be {input}, in this order, not none"),
        ({"query": "{input}{input}"}, "in this order, not {input} {input}"),
        ({"audio": "<>"}, "audio: the placeholders must be {audio}"),
        ({"audio": "{audio.__class__}"}, "only a name is allowed between braces"),
        ({"audio": "{audio!r}"}, "only a name is allowed between braces"),
        ({"audio": "{audio:>9}"}, "only a name is allowed between braces"),
        ({"audio": "{} {audio}"}, "only a name is allowed between braces"),
        ({"audio": "{audio"}, "a brace of the text itself is doubled"),
        ({"text": "{labels}"}, "text: unknown placeholder 'labels'"),
        ({"instruction": "Do it"}, "instruction: the placeholders must be {instruction}"),
    ],
)
def test_bad_templates_say_where_and_what(tmp_path, changes, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_template(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: mine\n", "missing key 'demonstration'"),
        (b"", "must be a mapping of keys"),
        (b"- a\n", "must be a mapping of keys"),
        (b"name: {", "not YAML"),
        (b"name: \xff", "not YAML"),
        (b"name: 2001-99-99", "missing key 'demonstration'"),
        (b"name: a\nname: b", "line 2: not YAML .the key 'name' is given twice"),
    ],
)
def test_files_that_are_not_templates(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_template(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "refrence",
            "unknown prompt template 'refrence' (did you mean 'reference'?); there are continuation, plain, reference",
        ),
        ("", "unknown prompt template ''"),
        ("nowhere/mine.yaml", "nowhere/mine.yaml: cannot be read (No such file or directory)"),
    ],
)
def test_templates_that_are_not_there(name, message):
    with pytest.raises(UsageError) as caught:
        load_template(name)
    assert message in str(caught.value)


def test_braces_of_the_text_are_doubled(bpe):
    template = Template(
        name="json",
        demonstration='{{"in":{input},"out":{output}}}\n',
        query='{{"in":{input},"out":',
        audio="{audio}",
        text='"{text}"',
    )
    prompt = build_prompt(task(), template, [DOG], QUERY, bpe)
    assert render(prompt, bpe).splitlines()[1] == '{"in": river stone,"out":"dog"}'
    assert bpe.tokenizer.decode(prompt.end_ids(bpe)) == '"}\n'
    assert bpe.tokenizer.decode(prompt.continuation("dog", bpe)) == '"dog'
