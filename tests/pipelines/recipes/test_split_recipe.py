from fractions import Fraction

import pytest

from pipelines.recipes.flag_errors import validate
from pipelines.recipes.flag_parser import make_parser, parse
from pipelines.recipes.split_recipe import SPLIT, SplitRecipe
from transforms.errors import UsageError


def recipe(**fields):
    return validate(SplitRecipe, {"sources": ["a.jsonl"], **fields})


def parts(**fields):
    plan = recipe(**fields).split_plan
    return plan.rest, [(part.name, part.share or part.count) for part in plan.parts]


def test_train_named_among_fractions_has_the_rest_wherever_it_stands():
    expected = "train", [("validation", Fraction(1, 100)), ("test", Fraction(1, 100))]
    assert parts(fractions="train=0.98,validation=0.01,test=0.01") == expected
    assert parts(fractions="validation=0.01,train=98%,test=1 %") == expected
    assert parts(fractions={"validation": 0.01, "test": "1%", "train": 0.98}) == expected
    assert parts(fractions="validation=1e-2,test=1/100") == expected


def test_fractions_without_train_that_come_to_1_leave_no_rest():
    assert parts(fractions="a=0.1,b=0.2,c=0.7")[0] is None  # floats would come to less
    assert parts(fractions="a=1/3,b=2/3") == (None, [("a", Fraction(1, 3)), ("b", Fraction(2, 3))])


def test_all_may_be_train():
    assert parts(fractions="train=1") == ("train", [])


def test_counts_have_a_rest_which_is_train_unless_it_is_said():
    assert parts(counts="train=1000,test=rest") == ("test", [("train", 1000)])
    assert parts(counts={"test": 1000}) == ("train", [("test", 1000)])
    assert parts(counts="test=1_000,dev=2")[1] == [("test", 1000), ("dev", 2)]


def test_counts_beside_fractions_choose_from_the_rest():
    found = parts(fractions="validation=0.1", counts="test=5,unused=rest")
    assert found == ("unused", [("validation", Fraction(1, 10)), ("test", 5)])


def test_what_was_asked_is_written_in_the_order_of_the_splits():
    asked = recipe(fractions="train=0.98,validation=0.01,test=0.01").asked
    assert list(asked.items()) == [("train", "98%"), ("validation", "1%"), ("test", "1%")]
    asked = recipe(counts="train=10,test=rest").asked
    assert list(asked.items()) == [("train", "10"), ("test", None)]
    assert list(recipe(counts="dev=3", fractions="test=1%").asked) == ["train", "test", "dev"]
    assert recipe(like="t", draw=5).asked == {"train": None, "validation": "5"}
    assert recipe(like="t", draw="5k").split_plan is None


def test_a_recipe_of_a_manifest_is_taken_again():
    for given in (
        {"fractions": {"train": 0.98, "validation": 0.02}, "split_by": "site"},
        {"counts": "train=5,test=rest", "stratify": "label", "by": "identity", "shuffle": True},
        {"like": ["t"], "draw": 7, "features": "text,age", "max_weight": 20},
        {"like_model": "like.json", "weights_column": "w", "counts": "train=5,test=rest"},
    ):
        made = recipe(**given)
        assert validate(SplitRecipe, made.model_dump(mode="json")) == made


def test_the_input_is_read_whole_and_the_test_set_in_the_same_way():
    found = recipe(
        text_field="body", like=["x", "y"], draw=1, header_lines=0, check="json", compression="gz"
    )
    assert found.reading.text_field is None
    assert found.reading.compression == "gzip"
    assert found.reading.check == "json"
    assert found.reading_like.sources == {"like": ["x", "y"]}
    assert recipe(counts="a=1").reading_like is None


def test_like_takes_what_a_shell_makes_of_patterns():
    parser = make_parser(SPLIT.recipe, SPLIT.settings, prog="x", about="")
    flags, _ = parse(parser, ["--like", "a", "b", "--like=c", "--input", "d", "--output=o"])
    assert flags["like"] == ["a", "b", "c"]


def test_no_flags_of_mixtures_or_of_one_split():
    parser = make_parser(SPLIT.recipe, SPLIT.settings, prog="x", about="")
    assert not {"--weights", "--repeats", "--split_name"} & parser._option_string_actions.keys()


FRACTIONS = {"fractions": "train=0.9,test=0.1"}
LIKE = {"like": "t.jsonl"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {},
            (
                "--fractions: expected the splits: pass "
                "--fractions=train=0.98,validation=0.01,test=0.01, or "
                "--counts=train=1000,test=rest, or --like with --draw"
            ),
        ),
        (
            {"fractions": "train=0.98,test=0.03"},
            "--fractions=train=0.98,test=0.03: expected fractions that add up to at most 1, got 1.01",
        ),
        (
            {"fractions": "train=0.98,test=0.01"},
            (
                "--fractions=train=0.98,test=0.01: expected fractions that add up to 1, because "
                "train is one of them, got 0.99; leave train out to give it the rest"
            ),
        ),
        (
            {"fractions": "test-1=0.01"},
            (
                "--fractions=test-1=0.01: expected a split name of letters, digits and _ that "
                "starts with a letter, got 'test-1'"
            ),
        ),
        (
            {"fractions": "a=0.1,A=0.2"},
            "--fractions=a=0.1,A=0.2: expected each split once, ignoring case, got A twice",
        ),
        (
            {"fractions": "a"},
            "--fractions=a: expected NAME=FRACTION,NAME=FRACTION, got 'a' in it",
        ),
        (
            {"fractions": "test=1000"},
            (
                "--fractions=test=1000: expected NAME=FRACTION above 0 and at most 1, such as "
                "train=0.98,test=0.02, got test=1000; did you mean --counts=test=1000?"
            ),
        ),
        (
            {"fractions": "test=2"},
            (
                "--fractions=test=2: expected NAME=FRACTION above 0 and at most 1, such as "
                "train=0.98,test=0.02, got test=2; did you mean test=2% or --counts=test=2?"
            ),
        ),
        (
            {"fractions": "test=0"},
            (
                "--fractions=test=0: expected NAME=FRACTION above 0 and at most 1, such as "
                "train=0.98,test=0.02, got test=0"
            ),
        ),
        (
            {"counts": "train,test=rest"},
            "--counts=train,test=rest: expected NAME=RECORDS,NAME=rest, got 'train' in it",
        ),
        (
            {"counts": "train=many,test=rest"},
            (
                "--counts=train=many,test=rest: expected NAME=RECORDS, such as "
                "train=1000,test=rest, got train=many"
            ),
        ),
        (
            {"counts": "test=0.1"},
            (
                "--counts=test=0.1: expected NAME=RECORDS, such as train=1000,test=rest, got "
                "test=0.1; did you mean --fractions=test=0.1?"
            ),
        ),
        (
            {"counts": "a=rest,b=rest"},
            "--counts=a=rest,b=rest: expected one split with the rest, got a and b",
        ),
        (
            {"counts": "train=1000"},
            (
                "--counts=train=1000: expected a split for the remaining records, as in "
                "test=rest, because train has a count"
            ),
        ),
        (
            {"fractions": "train=0.9,test=0.1", "counts": "dev=5"},
            (
                "--fractions=train=0.9,test=0.1 and --counts=dev=5: expected no fraction for "
                "train beside counts, which choose from what fractions leave; leave train out of the "
                "fractions"
            ),
        ),
        (
            {"fractions": "a=0.9,b=0.1", "counts": "dev=5"},
            (
                "--fractions=a=0.9,b=0.1 and --counts=dev=5: expected fractions below 1 beside "
                "counts, got fractions that add up to 1, which leave nothing for the counts"
            ),
        ),
        (
            {**FRACTIONS, "stratify": "label"},
            (
                "--stratify=label: fractions are taken by a hash of each content, so a "
                "label's share in a split is only about right; for exact numbers of each "
                "label, pass --counts=train=1000,test=rest"
            ),
        ),
        (
            {"counts": "a=1", "stratify": "label", **LIKE, "weights_column": "w"},
            (
                "--stratify=label and --like=t.jsonl: --like looks only at inputs, and "
                "--stratify needs labels; make the stratified splits first, then weight "
                "the one you need in another run"
            ),
        ),
        (
            {**FRACTIONS, "split_by": "site", "by": "identity"},
            (
                "--split_by=site and --by=identity: --split_by keeps the records of a "
                "group in one split, but --by=identity splits every record by itself; "
                "leave one of them out"
            ),
        ),
        (
            {**FRACTIONS, "split_by": "site,site"},
            "--split_by=site,site: expected each field once, got site twice",
        ),
        (
            {**FRACTIONS, "split_by": "*"},
            "--split_by=*: expected the names of fields; without --split_by the whole text decides",
        ),
        (
            {**FRACTIONS, **LIKE, "draw": 5},
            (
                "--draw=5 and --fractions=train=0.9,test=0.1: --draw makes the splits "
                "itself: validation gets the drawn records, and train every record whose "
                "content wasn't drawn; leave one of them out"
            ),
        ),
        (
            {**LIKE, "draw": 5, "weights_column": "w"},
            (
                "--weights_column=w and --draw=5: records that are drawn by weight need "
                "no weights; leave one of them out"
            ),
        ),
        (
            {**LIKE, "draw": 5, "by": "identity"},
            (
                "--by=identity and --draw=5: train gets every record whose content "
                "wasn't drawn; leave out --by"
            ),
        ),
        (
            {"draw": 5},
            (
                "--draw=5: expected --like=FILES (or --like_model=FILE) with it: the test set "
                "that records are compared with"
            ),
        ),
        (
            {**FRACTIONS, "weights_column": "w"},
            (
                "--weights_column=w: expected --like=FILES (or --like_model=FILE) with it: the "
                "test set that records are compared with"
            ),
        ),
        (
            {**FRACTIONS, "features": "text,age"},
            (
                "--features=text,age: expected --like=FILES with it: the test set that records "
                "are compared with"
            ),
        ),
        (
            {**FRACTIONS, **LIKE},
            (
                "--like=t.jsonl: expected --weights_column=weight or --draw=N with it: "
                "the first adds weights to the records of --fractions or --counts, the "
                "second draws a validation set by weight"
            ),
        ),
        (
            {"like_model": "like.json", "draw": 5, "fit_records": 7},
            (
                "--fit_records=7 and --like_model=like.json: this model is fitted "
                "already and names its own features; leave it out"
            ),
        ),
        (
            {**FRACTIONS, **LIKE, "weights_column": "w", "max_weight": "0.5"},
            "--max_weight=0.5: expected 1 or more, because the mean weight is 1; got 0.5",
        ),
        (
            {"fractions": ",".join(f"s{i}=1%" for i in range(32)), "shuffle": True},
            (
                "--shuffle: expected at most 32 splits, because each is shuffled by "
                "itself; got 33. Leave out --shuffle, and shuffle the ones you need"
            ),
        ),
        (
            {**FRACTIONS, "seed": 7},
            (
                "--seed=7: expected --shuffle with it: without --shuffle, each split "
                "keeps the input's order; --split_seed changes which records are in "
                "which split"
            ),
        ),
        (
            {**FRACTIONS, "num_shards": 7, "shard_size": "1GiB"},
            "--num_shards=7 and --shard_size=1073741824: pass only one of them",
        ),
    ],
)
def test_what_does_not_fit_is_said(fields, said):
    with pytest.raises(UsageError) as error:
        recipe(**fields)
    assert str(error.value) == said
