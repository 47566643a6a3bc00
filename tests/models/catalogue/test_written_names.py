"""Names and paths as people paste them: quotes, addresses of files and blanks around them change nothing."""

from __future__ import annotations

import pytest

from numembed.core.errors import BadChoice
from numembed.models.catalogue.names import model, reference_of
from numembed.models.catalogue.options import unquoted
from numembed.models.spec import LocalWeights, LoraWeights

PATH = "/models/my own's"
WRITTEN = [
    '"{}"',
    "'{}'",
    "“{}”",
    "„{}“",
    "‘{}’",
    "«{}»",
    "`{}`",
    '  "{}"  ',
    '" {} "',
    '\u202a"{}"',
    '"“{}”"',
    "\ufeff{}",
    "\u00a0{}\u00a0",
]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", [PATH, "owner/name", "all-MiniLM-L6-v2", "last_digits", "~/mine"])
def test_quotes_around_a_name_are_removed(written: str, name: str) -> None:
    assert model(written.format(name)) == model(name)


@pytest.mark.parametrize("written", WRITTEN)
def test_options_may_stand_inside_or_outside_the_quotes(written: str) -> None:
    wanted = model(f'{PATH} dim=64 prompt="a: "')
    assert model(written.format(PATH) + ' dim=64 prompt="a: "') == wanted
    assert model(written.format(f"{PATH} dim=64")) == model(f"{PATH} dim=64")


@pytest.mark.parametrize(
    "address",
    [
        "file:///models/my%20own's",
        "file://localhost/models/my%20own's",
        "FILE:///models/my own's",
        "file:/models/my%20own's",
    ],
)
def test_the_address_of_a_folder_is_its_path(address: str) -> None:
    assert model(address).weights == model(f'"{address}"').weights == LocalWeights(PATH)


def test_an_address_on_windows_keeps_its_drive() -> None:
    assert unquoted("file:///C:/models/one") == "C:/models/one"


@pytest.mark.parametrize("quotes", ['"{}"', "'{}'", "“{}”", "‘{}’"])
def test_an_adapters_folder_may_be_quoted_in_any_way(quotes: str) -> None:
    for path in ("/adapters/my own", "file:///adapters/my%20own"):
        spec = model(f"/models/one adapter={quotes.format(path)} scale=0.5")
        assert spec.weights == LoraWeights(LocalWeights("/models/one"), LocalWeights("/adapters/my own"), 0.5)
        assert model(reference_of(spec)) == spec


@pytest.mark.parametrize(
    ("written", "prompt"), [('"a\\n"', "a\n"), ("'a: '", "a: "), ("“a: ”", "a: "), ("'say \"a\"'", 'say "a"')]
)
def test_a_prompt_may_be_quoted_in_any_way(written: str, prompt: str) -> None:
    assert model(f"/models/one prompt={written}").prompt == prompt


@pytest.mark.parametrize(
    "name", ['"', '""', "' '", "“”", '"/models/one', "file:///models/%00", "file://elsewhere/models/one"]
)
def test_what_is_no_name_stays_none(name: str) -> None:
    with pytest.raises(BadChoice):
        model(name)
