"""What every encoder offers, and what the check of a loaded model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numembed.core.arrays import Matrix
from numembed.models.spec import ModelSpec

if TYPE_CHECKING:
    from numembed.models.catalogue.entries import Row
    from numembed.models.encoders.weight_swap import WeightSwapper
    from numembed.models.loading.loader import LoadReport

CUT = "cut"  # the finding that texts were sent to a server without their end
REFERENCE = "reference"  # the finding about reference vectors


class Encoder(Protocol):
    """The whole interface of a loaded model."""

    @property
    def check(self) -> ModelCheck:
        """What was found out about it when it was loaded."""

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda", "mps" or the name of an endpoint."""

    @property
    def parameters(self) -> int:
        """How many numbers its weights are; 0 where nobody knows."""

    def batches(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the indices of ``texts`` grouped into batches of similar length, shortest first."""

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Return one row a text, (n, d).

        Raises TextFailed where the model cannot read one of ``texts``: halve them to find it. The others are readable.
        """


class CheckedEncoder(Encoder, Protocol):
    """What a check looks at: a model in this process, with its tokens and modules."""

    spec: ModelSpec
    folder: Path
    facts: Row | None  # what its makers say, where known
    swapper: WeightSwapper | None  # of a model that is adapted or merged in memory
    model: Any  # the SentenceTransformer
    report: LoadReport
    guessed_pooling: bool  # neither its files nor its recipe name one

    def token_vectors(self, text: str) -> Matrix:
        """Return one row a token of ``text``, before pooling."""

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text as the model reads them."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: right, wrong, or (None) with nothing to hold it against."""

    name: str
    ok: bool | None
    sentence: str


class Comparison(Protocol):
    """What holds the vectors of a loaded model against those recorded earlier."""

    def __call__(self, encoder: CheckedEncoder, together: Matrix, *, good: bool) -> Finding | None:
        """Return what was found; None where nothing is compared."""


@dataclass(frozen=True)
class ModelCheck:
    """What a load found out."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True where nothing is wrong."""
        return all(finding.ok is not False for finding in self.findings)

    @property
    def sentence(self) -> str:
        """What is wrong, or what was found right, in one or two plain sentences."""
        wrong = [finding.sentence for finding in self.findings if finding.ok is False]
        cut = [finding.sentence for finding in self.findings if finding.name == CUT]
        return " ".join(wrong or [*[finding.sentence for finding in self.findings if finding.ok][:2], *cut])

    def after(self, known: ModelCheck | None) -> ModelCheck:
        """Return this check with what an earlier one said of texts that were sent without their end: they are stored.

        >>> cut = ModelCheck((Finding(CUT, None, "2 texts were cut."),))
        >>> [finding.sentence for finding in ModelCheck(()).after(cut).findings], ModelCheck(()).after(None)
        (['2 texts were cut.'], ModelCheck(findings=()))
        """
        earlier = known.findings if known and all(finding.name != CUT for finding in self.findings) else ()
        return ModelCheck((*self.findings, *(finding for finding in earlier if finding.name == CUT)))
