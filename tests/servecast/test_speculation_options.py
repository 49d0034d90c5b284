"""`deployment.speculation` of a scenario: its forms, what it becomes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servecast.domain import deployment
from servecast.errors import InputError
from servecast.loading import loads
from servecast.primitives.dtype import Dtype
from servecast.question import current_deployment
from servecast.search.serve_command import parse
from servecast.search.vllm_arguments import arguments
from tests.command import FIXED as SMALL
from tests.command import run, write
from tests.servecast.minimal import changed, faults

NGRAM = "method: ngram, num_speculative_tokens: 3"
SMALLER = "method: draft_model, model: meta-llama/Llama-3.2-1B, num_speculative_tokens: 2"


def stated(section: str) -> str:
    return changed("{max_num_seqs: 64}", f"{{max_num_seqs: 64, speculation: {{{section}}}}}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("acceptance", "expected"),
    [
        ("[0.7, 0.4, 0.2]", (0.7, 0.4, 0.2)),
        ("[0.7, 0.4, 0.2, 0.1]", (0.7, 0.4, 0.2)),
        ("[1, 1, 0]", (1.0, 1.0, 0.0)),
        ("{first: 0.8, decay: 0.5}", (0.8, 0.32, 0.064)),
        ("{conditional: 0.5}", (0.5, 0.25, 0.125)),
    ],
)
def test_acceptance_in_each_form_is_one_chance_a_draft(
    acceptance: str, expected: tuple[float, ...]
) -> None:
    scenario = loads(stated(f"{NGRAM}, acceptance: {acceptance}, request_spread: 0.0"))
    found = deployment(scenario).drafting
    assert found is not None
    assert found.acceptance == pytest.approx(expected)
    assert (found.method, found.draft) == ("ngram", None)
    assert loads(scenario.dump()) == scenario


def test_drafts_are_drawn_with_the_scenarios_seed_and_spread() -> None:
    text = stated(f"{NGRAM}, acceptance: [0.7, 0.4, 0.2], request_spread: 0.2") + "seed: 5\n"
    found = deployment(loads(text)).drafting
    assert found is not None
    assert (found.seed, found.request_spread) == (5, 0.2)


def test_absent_or_null_is_no_speculation() -> None:
    null = changed("max_num_seqs: 64", "max_num_seqs: 64, speculation: null")
    none = stated("method: ngram, num_speculative_tokens: 0, acceptance: [], request_spread: 0.1")
    for text in (null, none):
        assert deployment(loads(text)) == deployment(loads(changed("", "")))


def test_the_number_of_drafts_may_be_a_choice() -> None:
    section = f"{NGRAM}, acceptance: {{first: 0.8, decay: 0.5}}, request_spread: 0.1"
    scenario = loads(stated(section.replace("tokens: 3", "tokens: [0, 1, 3]")))
    assert scenario.space().open == {"num_speculative_tokens": (0, 1, 3)}
    assert loads(scenario.dump()) == scenario
    found = [deployment(scenario, {"num_speculative_tokens": drafts}) for drafts in (0, 1, 3)]
    assert found[0] == deployment(loads(changed("", "")))
    assert found[2] == deployment(loads(stated(section)))
    assert found[1].num_drafts == 1


BY_BATCH = "num_speculative_tokens_per_batch_size: [[1, 8, 3], [9, 64, 1]]"


def test_the_number_of_drafts_may_go_by_the_batch_size(folder: Path) -> None:
    text = stated(f"{NGRAM}, {BY_BATCH}, acceptance: [0.7, 0.4, 0.2]")
    scenario = loads(text)
    served = deployment(scenario)
    assert served.drafting is not None
    assert served.drafting.drafts_by_batch(10)[7:] == [3, 3, 1, 1]
    assert loads(scenario.dump()) == scenario
    (told,) = [value for name, value in arguments(served, 1000) if name == "--speculative-config"]
    assert told == served.drafting.config()
    write(folder, text)
    answer = run("simulate", "small.yaml", "--json").json
    ranges = answer["deployment"]["speculation"]["num_speculative_tokens_per_batch_size"]
    assert ranges == [[1, 8, 3], [9, 64, 1]]


def test_a_draft_model_is_known_by_name_or_by_the_path_of_its_config(folder: Path) -> None:
    by_name = deployment(loads(stated(f"{SMALLER}, acceptance: [0.7, 0.4]"))).drafting
    assert by_name is not None
    assert by_name.draft is not None
    assert by_name.draft.model.num_layers == 16
    (folder / "config.json").write_text(
        '{"architectures": ["LlamaForCausalLM"], "hidden_size": 512, "num_hidden_layers": 2, '
        '"num_attention_heads": 8, "num_key_value_heads": 8, "intermediate_size": 1024, '
        '"vocab_size": 128256, "max_position_embeddings": 8192, "torch_dtype": "bfloat16"}'
    )
    own = "method: draft_model, model: ./config.json, num_speculative_tokens: 2"
    by_path = deployment(loads(stated(f"{own}, acceptance: [0.7, 0.4]"), folder=folder)).drafting
    assert by_path is not None
    assert by_path.draft is not None
    assert by_path.draft.model.name == str(folder.resolve())  # what vLLM loads
    assert by_path.draft.model.num_layers == 2


@pytest.mark.parametrize(
    ("section", "place", "words"),
    [
        (f"{NGRAM}", ".acceptance", ["missing"]),
        (f"{NGRAM}, acceptance: 0.7", ".acceptance", ["neither a list", "first, decay"]),
        (f"{NGRAM}, acceptance: [0.7, 0.4]", "", ["acceptance for 2 of 3 drafts"]),
        (f"{NGRAM}, acceptance: [0.4, 0.7, 0.1]", "", ["falling"]),
        (f"{NGRAM}, acceptance: [0.4, 0.2, -1]", ".acceptance[2]", ["greater than or equal to 0"]),
        (f"{NGRAM}, acceptance: {{first: 0.7}}", ".acceptance.decay", ["missing"]),
        (
            f"{NGRAM}, acceptance: {{first: 0.7, decy: 1}}",
            ".acceptance.decy",
            ["unknown field", "`decay`"],
        ),
        (
            f"{NGRAM}, acceptance: {{conditional: 0.7, decay: 1}}",
            ".acceptance",
            ["neither a list", "write [0.5"],
        ),
        (f"{NGRAM}, acceptance: [0.5, 0.4, 0.1], request_spread: 0.5", "", ["request_spread 0.5"]),
        (f"{NGRAM}, acceptance: [0.5, 0.4, 0.1], model: x", "", ["ngram has none", "leave it"]),
        (f"{NGRAM}, acceptanse: [0.5]", ".acceptanse", ["unknown field", "`acceptance`"]),
        ("method: eagle, num_speculative_tokens: 1, acceptance: [0.5]", "", ["needs one"]),
        ("method: medusa, num_speculative_tokens: 1, acceptance: [0.5]", ".method", ["`medusa`"]),
        (
            "method: ngram, num_speculative_tokens: 129, acceptance: {first: 1, decay: 1}",
            ".num_speculative_tokens",
            ["less than or equal to 128"],
        ),
        (
            "method: ngram, num_speculative_tokens: [1, 3], acceptance: [0.5, 0.4]",
            "",
            ["acceptance for 2 of 3 drafts"],
        ),
        (
            "method: draft_model, model: Llama-3.2-1, num_speculative_tokens: 1, acceptance: [0.5]",
            ".model",
            ["unknown", "did you mean"],
        ),
        (
            "method: draft_model, model: Qwen/Qwen3-0.6B, num_speculative_tokens: 1, "
            "acceptance: [0.5]",
            "",
            ["151,936 tokens in its vocabulary", "same family"],
        ),
        ("method: mtp, num_speculative_tokens: 1, acceptance: [0.5]", "", ["multi-token"]),
        (
            f"{NGRAM}, acceptance: [0.7, 0.4, 0.2], {BY_BATCH.replace('[1,', '[2,')}",
            "",
            ["begins at a batch of 2", "write [first, last, drafts]"],
        ),
        (
            f"{NGRAM}, acceptance: [0.7, 0.4, 0.2], {BY_BATCH.replace('[1,', '[0,')}",
            ".num_speculative_tokens_per_batch_size[0][0]",
            ["greater than or equal to 1"],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(section: str, place: str, words: list[str]) -> None:
    told = faults(stated(section))
    assert {each.partition(".sp")[0] for each in told} == {"deployment"}
    for word in words:
        assert word in told[f"deployment.speculation{place}"]


def test_a_lookup_is_refused_where_vllm_would_schedule_ahead() -> None:
    text = stated(f"{NGRAM}, acceptance: [0.7, 0.4, 0.2]")
    ahead = text.replace("max_num_seqs: 64", "max_num_seqs: 64, async_scheduling: true")
    assert "synchronous" in faults(ahead)["deployment.speculation.method"]
    model = ahead.replace(NGRAM, SMALLER)
    assert deployment(loads(model)).async_scheduling


@pytest.mark.parametrize("engine", ['transformers, version: "5.23"', 'trtllm, version: "1.0"'])
def test_other_engines_refuse_it_by_name(engine: str) -> None:
    text = stated(f"{NGRAM}, acceptance: [0.7, 0.4, 0.2]")
    text = text.replace('vllm, version: "0.32"', engine).replace("max_num_seqs: 64, ", "")
    assert "speculative decoding is not modelled" in faults(text)["deployment.speculation"]


def test_memory_shows_what_the_draft_takes(folder: Path) -> None:
    write(folder, stated(f"{SMALLER}, acceptance: [0.7, 0.4]"))
    (found,) = json.loads(run("memory", "small.yaml", "--json").out)
    assert found["draft_weights_bytes"] == pytest.approx(2.47e9, rel=0.01)  # Llama-3.2-1B, tied
    assert " draft " in run("memory", "small.yaml").out
    write(folder, SMALL)
    assert " draft " not in run("memory", "small.yaml").out


COMMAND = (
    "vllm serve meta-llama/Llama-3.1-8B-Instruct --no-enable-prefix-caching "
    "--no-async-scheduling --spec-method ngram --spec-tokens 2"
)


def test_a_command_that_drafts_needs_to_know_how_much_is_accepted() -> None:
    with pytest.raises(InputError, match="drafts by ngram, and nothing says how much"):
        current_deployment(loads(changed("", "")), parse(COMMAND))


def test_a_command_that_drafts_is_compared_by_the_scenarios_acceptance() -> None:
    scenario = loads(stated(f"{NGRAM}, acceptance: [0.7, 0.4, 0.2]"))
    found = current_deployment(scenario, parse(COMMAND)).drafting
    assert found is not None
    assert found.acceptance == (0.7, 0.4)
    more = parse(COMMAND.replace("--spec-tokens 2", "--spec-tokens 4"))
    with pytest.raises(InputError, match="acceptance for 3 of 4 drafts"):
        current_deployment(scenario, more)
    by_batch = COMMAND.partition(" --spec")[0] + (
        ' --speculative-config \'{"method": "ngram", "num_speculative_tokens": 3, '
        '"num_speculative_tokens_per_batch_size": [[1, 8, 3], [9, 64, 1]]}\''
    )
    fewer = current_deployment(scenario, parse(by_batch)).drafting
    assert fewer is not None
    assert fewer.drafts_by_batch(10)[7:] == [3, 3, 1, 1]
    plain = parse(COMMAND.partition(" --spec-method")[0])
    assert current_deployment(scenario, plain).drafting is None


def test_a_commands_own_layer_drafts_in_the_format_that_the_command_serves() -> None:
    name = "XiaomiMiMo/MiMo-7B-Base"
    text = stated("method: mtp, num_speculative_tokens: 1, acceptance: [0.7]")
    scenario = loads(text.replace("meta-llama/Llama-3.1-8B-Instruct", name))
    command = f"vllm serve {name} --quantization fp8 --spec-method mtp --spec-tokens 1"
    found = current_deployment(scenario, parse(command)).drafting
    assert found is not None
    assert found.draft is not None
    assert found.draft.weights_dtype is Dtype.FP8


def test_what_is_recommended_drafts_and_starts_so(folder: Path) -> None:
    write(folder, stated(f"{NGRAM}, acceptance: [0.9, 0.8, 0.7]"))
    found = run("recommend", "small.yaml", "--json")
    assert found.code == 0, found.err
    assert found.json["deployment"]["speculation"]["acceptance"] == [0.9, 0.8, 0.7]
    (serve,) = folder.glob("runs/*/deploy/1/serve.sh")
    assert '--speculative-config \'{"method": "ngram"' in serve.read_text()
    alone = run("simulate", "small.yaml", "--json").json
    assert found.json["result"]["latency_s"] == alone["latency_s"]


def test_the_best_number_of_drafts_is_found_and_so_are_none(folder: Path) -> None:
    section = "method: ngram, num_speculative_tokens: [0, 2, 6], acceptance: {first: %s, decay: 1}"
    for first, best in ((0.95, 6), (0.0, 0)):
        text = stated(section % first).replace("objective: cost", "objective: tpot:p95")
        write(folder, text)
        found = run("recommend", "small.yaml", "--json").json["deployment"]
        drafts = found["speculation"]["num_speculative_tokens"] if "speculation" in found else 0
        assert drafts == best


@pytest.mark.parametrize("verb", ["simulate", "recommend"])
def test_one_chance_for_all_positions_is_told_to_be_a_baseline(folder: Path, verb: str) -> None:
    write(folder, stated(f"{NGRAM}, acceptance: {{conditional: 0.7}}"))
    assert "one chance for all positions is a baseline" in run(verb, "small.yaml").err
    write(folder, stated(f"{NGRAM}, acceptance: {{first: 0.7, decay: 0.9}}"))
    assert "baseline" not in run(verb, "small.yaml").err


def test_the_options_say_what_vllm_drafts() -> None:
    served = deployment(loads(stated(f"{SMALLER}, acceptance: [0.7, 0.4]")))
    said = dict(arguments(served, 1000))["--speculative-config"]
    again = parse(f"vllm serve m --speculative-config '{said}'").drafts
    assert again is not None
    assert (again.method, again.num_speculative_tokens, again.model) == (
        "draft_model", 2, "meta-llama/Llama-3.2-1B",
    )  # fmt: skip
    assert "--speculative-config" not in dict(arguments(deployment(loads(changed("", ""))), 1000))
