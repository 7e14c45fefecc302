"""Texts become blocks in which every token is predicted once, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dreamer.core.tokens import IGNORED
from dreamer.problems import Language
from dreamer.streams import Stream, from_texts, text
from dreamer.streams.base import Samples
from dreamer.streams.text_files import rows_of
from dreamer.streams.turns import turns_of

POEM = "Tyger Tyger, burning bright,\nIn the forests of the night; é ü 山\n" * 12
PROSE = "It was the best of times, it was the worst of times, naïve or not. " * 9


def read(samples: Samples) -> tuple[Tensor, Tensor]:
    batch = next(iter(samples.batches([torch.arange(len(samples))])))
    return batch.x, batch.y


def written(stream: Stream, samples: Samples) -> str:
    assert stream.tokens is not None
    _, y = read(samples)
    return stream.tokens.write(y.flatten().tolist())


@pytest.mark.parametrize("opening", ["mark", "name"])
@pytest.mark.parametrize("tokeniser", ["bytes", "pairs:300"])
def test_every_character_is_a_target_once(opening: Any, tokeniser: str) -> None:
    if tokeniser != "bytes":
        pytest.importorskip("tokenizers")
    stream = from_texts({"poem": POEM, "prose": PROSE}, tokeniser, block=16, opening=opening, validation=0)
    for experience, whole in zip(stream.experiences, (POEM, PROSE), strict=True):
        length = round(0.05 * len(whole))
        start = (len(whole) - length) // 2
        assert written(stream, experience.test) == whole[start : start + length]
        assert written(stream, experience.train) == whole[:start] + whole[start + length :]


def test_of_many_documents_whole_ones_are_held_out() -> None:
    documents = [f"document {number:03d} of the collection. " for number in range(100)]
    stream = from_texts({"many": documents}, block=16, validation=0)
    assert written(stream, stream.experiences[0].test) == "".join(documents[47:52])
    assert written(stream, stream.experiences[0].train) == "".join([*documents[:47], *documents[52:]])


def test_an_input_is_the_target_of_the_place_before() -> None:
    stream = from_texts({"poem": POEM}, block=16, validation=0)
    x, y = read(stream.experiences[0].train)
    assert torch.equal(x[:-1, 1:], y[:-1, :-1])
    assert set(x[:, 0].tolist()) == {256}


def test_at_the_name_of_a_domain_no_loss_is_taken() -> None:
    stream = from_texts({"poem": POEM}, block=16, opening="name", validation=0)
    x, y = read(stream.experiences[0].train)
    assert bytes(x[0, :5].tolist()) == b"poem\n"
    assert (y[:, :4] == IGNORED).all() and (y[:, 4] != IGNORED).all()


def test_bits_per_byte_are_over_the_bytes_of_the_text() -> None:
    """An output without a preference costs log2 V bits a token, whatever the tokeniser."""
    pytest.importorskip("tokenizers")
    stream = from_texts({"poem": POEM}, "pairs:300", block=16, validation=0)
    _, y = read(stream.experiences[0].test)
    tally = Language(tokens=stream.tokens).tally(torch.zeros(*y.shape, stream.num_classes), y, None)
    held_out = written(stream, stream.experiences[0].test).encode()
    tokens = int((y != IGNORED).sum())
    assert tokens < len(held_out)
    assert tally.value == pytest.approx(tokens * torch.log2(torch.tensor(float(stream.num_classes))) / len(held_out))


TALKS = [{"prompt": f"how many cats are {number}?", "response": f"{number} cats"} for number in range(30)]


def test_of_a_conversation_the_response_alone_counts() -> None:
    stream = from_texts({"talks": TALKS}, block=40, validation=0)
    x, y = read(stream.experiences[0].train)
    assert len(x) == 28 and len(stream.experiences[0].test) == 2, "the middle 5 %"
    assert stream.tokens is not None
    assert stream.tokens.write(y[3].tolist()) == "3 cats\n"
    assert stream.tokens.write(x[3, 1:].tolist()).rstrip("\0") == "how many cats are 3?\n3 cats\n"
    assert torch.equal(x[3, 1:][y[3, :-1] != IGNORED], y[3, :-1][y[3, :-1] != IGNORED])


def test_a_long_conversation_goes_on_in_the_next_block_and_loses_nothing() -> None:
    long = {"messages": [{"role": "user", "content": "a" * 30}, {"role": "assistant", "content": "b" * 30}]}
    stream = from_texts({"talks": [long, TALKS[0], long]}, block=16, validation=0)
    _, y = read(stream.experiences[0].train)
    assert (y == ord("b")).sum() == 60 and (y == ord("a")).sum() == 0


def test_a_chat_template_says_how_turns_are_written() -> None:
    pytest.importorskip("transformers")
    from tests.helpers.tiny_llama import tokeniser

    stream = from_texts({"talks": TALKS}, tokeniser(chat=True), block=60, opening="beginning", validation=0)
    x, y = read(stream.experiences[0].train)
    assert stream.tokens is not None
    given = stream.tokens.write(x[5].tolist())
    assert given.startswith("<start>user: how many cats are 5?<end><start>assistant: 5 cats<end>"), "one beginning"
    assert stream.tokens.write(y[5].tolist()).endswith("5 cats<end>")
    assert "how" not in stream.tokens.write(y[5].tolist())


def test_an_empty_turn_opens_documents_and_the_template_of_a_conversation_is_not_repeated() -> None:
    pytest.importorskip("transformers")
    from tests.helpers.tiny_llama import tokeniser

    system = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "who?"}]
    ruled = {"messages": [*system, {"role": "assistant", "content": "me"}]}
    chosen = tokeniser(chat=True)
    stream = from_texts({"poem": POEM, "talks": [*TALKS[:5], ruled]}, chosen, block=60, opening="turn", validation=0)
    assert stream.tokens is not None and stream.num_classes == len(chosen), "it adds no token"
    written_opening = [stream.tokens.write(opening) for opening in stream.tokens.openings]
    assert written_opening == ["<start>user: "] * 2
    start = len(stream.tokens.openings[0])
    x, y = read(stream.experiences[0].train)
    assert (x[:, :start] == torch.tensor(stream.tokens.openings[0])).all()
    assert (y[:, : start - 1] == IGNORED).all() and (y[:-1, start - 1 :] != IGNORED).all()
    x, y = read(stream.experiences[1].train)
    assert x[0, :start].tolist() == list(stream.tokens.openings[0]), "what the writer is given, token for token"
    given = [stream.tokens.write(row.tolist()) for row in x]
    assert given[0].startswith("<start>user: how many cats are 0?<end><start>assistant: 0 cats<end>")
    assert given[-1].startswith("<start>system: Be short.<end><start>user: who?<end><start>assistant: me<end>")
    assert [stream.tokens.write(row[row != IGNORED].tolist()).strip() for row in y][-1] == "<start>assistant: me<end>"


def test_a_long_conversation_behind_an_empty_turn_loses_nothing() -> None:
    pytest.importorskip("transformers")
    from tests.helpers.tiny_llama import tokeniser

    long = [{"prompt": "a" * 30, "response": "b" * length} for length in range(1, 60)]
    stream = from_texts({"talks": long}, tokeniser(chat=True), block=16, opening="turn", validation=0, test=0.02)
    assert stream.tokens is not None
    told = [stream.tokens.write(read(part)[1].flatten().tolist()) for part in (stream.experiences[0].train,)]
    assert told[0].count("b") == sum(range(1, 60)) - 30, "all but the one in the middle"
    assert "a" not in told[0].replace("<start>assistant", "")


def test_a_chat_template_that_refuses_a_conversation_says_so() -> None:
    pytest.importorskip("transformers")
    from tests.helpers.tiny_llama import CHAT, tokeniser

    chosen = tokeniser(chat=True)
    chosen.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHAT
    )
    ruled = {"messages": [{"role": "system", "content": "a"}, {"role": "assistant", "content": "b"}]}
    with pytest.raises(ValueError, match="chat template refuses a conversation of system, assistant: no system"):
        from_texts({"talks": [ruled] * 30}, chosen, opening="beginning")


def test_prompts_stand_behind_the_opening_of_their_domain_and_change_no_sample() -> None:
    stream = from_texts({"poem": POEM, "prose": PROSE}, block=16, prompts={"prose": ["It was", "naïve"]})
    assert stream.tokens is not None
    assert stream.tokens.prompts == ((), ((257, *b"It was"), (257, *"naïve".encode())))
    assert stream.tokens.prompt_bytes == 6 + 6
    for ours, theirs in zip(
        stream.experiences, from_texts({"poem": POEM, "prose": PROSE}, block=16).experiences, strict=True
    ):
        assert torch.equal(read(ours.train)[0], read(theirs.train)[0])


def test_an_end_that_the_template_writes_is_not_written_twice() -> None:
    pytest.importorskip("transformers")
    from tests.helpers.tiny_llama import CHAT, tokeniser

    chosen = tokeniser(chat=True)
    chosen.chat_template = CHAT.replace("<end>", "<end>\n")
    stream = from_texts({"talks": TALKS}, chosen, block=60, opening="beginning", validation=0)
    _, y = read(stream.experiences[0].train)
    assert ((y == chosen.eos_token_id).sum(dim=1) == 1).all(), "a line ends behind it"


def asked(number: int) -> tuple[str, str]:
    return f"how many\ncats are {number}?", f"{number} cats"


LAYOUTS: dict[str, Any] = {
    "prompt and completion": lambda ask, say: {"prompt": ask, "completion": say, "source": "made up"},
    "instruction and output": lambda ask, say: {"instruction": ask, "input": "", "output": say},
    "instruction alone": lambda ask, say: {"instruction": ask, "output": say},
    "instruction and input": lambda ask, say: {"instruction": ask[:8], "input": ask[9:], "output": say},
    "messages": lambda ask, say: {
        "messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": say}], "prompt": None
    },
    "conversations": lambda ask, say: {
        "conversations": [{"from": "human", "value": ask}, {"from": "gpt", "value": say}]
    },
    "conversations with roles": lambda ask, say: {
        "conversations": [{"role": "user", "content": ask}, {"role": "assistant", "content": say}]
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", ["lists", "lines of JSON", "a data set"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts_of_a_conversation_are_read_alike(layout: str, kind: str, tmp_path: Path) -> None:
    rows: Any = [LAYOUTS[layout](*asked(number)) for number in range(30)]
    if kind == "lines of JSON":
        (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        stream = text(tmp_path, block=40, validation=0)
    else:
        if kind == "a data set":
            rows = pytest.importorskip("datasets").Dataset.from_list(rows)
        stream = from_texts({"talks": rows}, block=40, validation=0)
    usual = [dict(zip(("prompt", "response"), asked(number), strict=True)) for number in range(30)]
    wanted = from_texts({"talks": usual}, block=40, validation=0)
    for part in ("train", "test"):
        pairs = zip(*(read(getattr(one.experiences[0], part)) for one in (stream, wanted)), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_the_input_of_an_instruction_is_its_second_line() -> None:
    row = {"instruction": "Add.", "input": "1, 2", "output": "3"}
    assert turns_of(row, "sums") == [("user", "Add.\n1, 2"), ("assistant", "3")]


def test_who_speaks_in_a_conversation_is_called_by_its_role() -> None:
    said = [{"from": "system", "value": "Be short."}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hey"}]
    assert turns_of({"conversations": said}, "talks") == [("system", "Be short."), ("user", "Hi"), ("assistant", "Hey")]


def test_a_column_that_is_named_is_a_document_whatever_else_a_row_has(tmp_path: Path) -> None:
    rows = [{"text": f"document {number}. ", "prompt": "a", "response": "b"} for number in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    documents = [row["text"] for row in rows]
    for stream in (
        from_texts({"rows": rows}, column="text", validation=0),
        text(tmp_path, column="text", validation=0),
    ):
        assert written(stream, stream.experiences[0].train) == "".join([*documents[:19], *documents[21:]])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([TALKS[0], "text"], "expected rows with prompt and response, .*, or conversations, like the first, got str"),
        ([TALKS[0], {"prompt": "a", "response": None}], "like the first, got one with 'prompt'"),
        ([{"prompt": "a", "response": ""}] * 3, "expected a response in every conversation"),
        (
            [{"messages": "hello"}] * 3,
            "expected messages to be a list, each with role and content or from and value, got 'hello'",
        ),
        ([{"messages": [{"text": "hello"}]}] * 3, "expected messages to be a list, each with role and content"),
        ([{"conversations": ["hello"]}] * 3, "expected conversations to be a list, each with .* got 'hello'"),
        (
            [{"conversations": [{"role": "user", "content": "a", "from": "gpt", "value": "b"}]}] * 3,
            "expected conversations to be a list, each with role and content or from and value, got {'role'",
        ),
        (
            [{"conversations": [{"from": "tool", "value": "a"}, {"from": "gpt", "value": "b"}]}] * 3,
            "expected turns from human, gpt, system, user, assistant, got one from 'tool'",
        ),
        (
            [{"prompt": "a", "response": "b", "completion": "c"}] * 3,
            "got prompt and response beside prompt and completion: leave all but one out, or say column=",
        ),
        (
            [{"instruction": "a", "output": "b", "text": "a: b"}] * 3,
            "expected one text or conversation in a row, got instruction and output beside text",
        ),
        (
            [{"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": "a"}]}] * 3,
            "expected strings in a conversation, got NoneType None",
        ),
        (
            [{"prompt": [{"role": "user", "content": "a"}], "response": "b"}] * 3,
            r"expected strings in a conversation, got list \[\{'role'",
        ),
        (
            [{"question": "a", "answer": "b", "text": None}] * 3,
            "a column 'text', or with prompt and response, .*, got one with 'question', 'answer'",
        ),
        (TALKS[:1], "too little text to hold 5% of it out"),
    ],
)
def test_what_is_no_conversation_is_one_sentence(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_texts({"talks": rows}, block=16)


def test_a_folder_has_a_domain_for_each_file_and_each_folder(tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text(POEM, encoding="utf-8")
    (tmp_path / "code").mkdir()
    for name in ("a.py", "b.py"):
        (tmp_path / "code" / name).write_text("import this\n" * 40, encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert text(tmp_path).class_names == ("code", "poem")
    assert text(tmp_path, domains=["poem", "code"]).class_names == ("poem", "code")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"domains": {}}, "at least one domain"),
        ({"domains": {"poem": "  \n"}}, "'poem' has no text"),
        ({"domains": {"poem": [3]}}, "expected strings"),
        ({"domains": {"poem": [POEM, "a\0b"]}}, "'poem' has a document that is no text: it holds zero bytes"),
        ({"domains": {"poem": "too short"}}, "too little text"),
        ({"domains": {"poem": POEM}, "opening": "beginning"}, "mark of beginning"),
        ({"domains": {"poem": POEM}, "prompts": {"prose": ["It"]}}, "prompts of 'prose', but only the domains poem"),
        ({"domains": {"poem": POEM}, "prompts": {"poem": []}}, "'poem': expected a list of prompts, .*, got "),
        ({"domains": {"poem": POEM}, "prompts": {"poem": [""]}}, "'poem': expected a list of prompts, .*, got "),
        ({"domains": {"poem": POEM}, "opening": "turn"}, "opening='turn' needs a tokeniser with a chat template"),
        ({"domains": {"poem": POEM}, "opening": "name", "block": 3}, "longer than the opening"),
        ({"domains": {"poem": POEM}, "tokeniser": "pairs:many"}, "pairs:SIZE"),
        ({"domains": {"poem": POEM}, "block": 0}, "block"),
    ],
)
def test_what_cannot_be_read_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_texts(**given)


def test_lines_of_json_are_documents_or_conversations(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in TALKS]
    (tmp_path / "talks.jsonl").write_text("\n".join([*lines[:7], "", *lines[7:]]), encoding="utf-8")
    (tmp_path / "poems.jsonl").write_text(
        f"{json.dumps(POEM)}\n{json.dumps({'text': PROSE, 'by': 3})}\n", encoding="utf-8"
    )
    stream = text(tmp_path, block=40, validation=0)
    assert stream.class_names == ("poems", "talks")
    given = from_texts({"poems": [POEM, PROSE], "talks": TALKS}, block=40, validation=0)
    for ours, theirs in zip(stream.experiences, given.experiences, strict=True):
        for part in ("train", "test"):
            pairs = zip(read(getattr(ours, part)), read(getattr(theirs, part)), strict=True)
            assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    ("line", "said"),
    [("{", r"line 2 of .*talks\.jsonl is no JSON"), ("3", "line 2 of .* a string, or keys with values, got int")],
)
def test_a_line_that_cannot_be_read_is_named(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "talks.jsonl").write_text(f"{json.dumps(TALKS[0])}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        text(tmp_path)


@pytest.mark.parametrize(("content", "said"), [(b"\xff\xfe\x00", "UTF-8"), (b"a\0b", "zero bytes")])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "poem.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"poem\.txt.*{said}"):
        text(tmp_path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["without a mark", "with a byte-order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CR LF"])
def test_files_of_all_systems_are_read_alike(tmp_path: Path, mark: bytes, end: str) -> None:
    (tmp_path / "poem.txt").write_bytes(mark + POEM.replace("\n", end).encode())
    (tmp_path / "poem.jsonl").write_bytes(mark + f'{json.dumps(POEM)}{end}{{"text": "a \u2028 b"}}{end}'.encode())
    assert rows_of(tmp_path / "poem.txt") == [POEM]
    assert rows_of(tmp_path / "poem.jsonl") == [POEM, {"text": "a \u2028 b"}]
    stream = text(tmp_path, block=16, opening="name", validation=0)
    x, _ = read(stream.experiences[0].train)
    assert bytes(x[0].tolist()) == b"poem\n" + POEM.encode()[:11]


def test_a_byte_order_mark_within_a_file_is_text(tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text(f"a\ufeff{POEM}", encoding="utf-8")
    assert rows_of(tmp_path / "poem.txt") == [f"a\ufeff{POEM}"]


def test_a_tokeniser_of_transformers_brings_its_marks() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    pairs = tokenizers.Tokenizer(tokenizers.models.BPE())
    pairs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False
    )
    pairs.train_from_iterator([PROSE], trainer)
    tokeniser = transformers.PreTrainedTokenizerFast(tokenizer_object=pairs, eos_token="<end>")
    documents = [PROSE, POEM]
    stream = from_texts({"both": documents}, tokeniser, block=16, opening="beginning", validation=0)
    assert stream.tokens is not None and stream.tokens.size == len(tokeniser)
    end = tokeniser.eos_token_id
    x, y = read(stream.experiences[0].train)
    assert set(x[:, 0].tolist()) == {end}
    assert int((y == end).sum()) == 2, "behind each document, and not where the test was cut out"
    assert stream.tokens.sizes[end] == 0
    assert written(stream, stream.experiences[0].train).count("山") > 0


def test_a_tokeniser_that_loses_bytes_is_refused() -> None:
    class Deaf:
        texts = ("a", "b")
        marks: frozenset[int] = frozenset()
        beginning = end = None

        def encode(self, text: str) -> Tensor:
            return torch.zeros(1, dtype=torch.int64)

    with pytest.raises(ValueError, match="keeps every byte"):
        from_texts({"poem": POEM}, Deaf())
