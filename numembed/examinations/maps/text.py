"""What was found about the maps of a model: sentences that claim no more than the numbers, and plain rows."""

from __future__ import annotations

import math
from dataclasses import asdict
from statistics import NormalDist

from numembed.analysis.inference.power import POWER, sd_above, smallest_beyond
from numembed.analysis.maps.projections import PROJECTIONS
from numembed.core.significance import LEVEL
from numembed.core.wording import decimal, listed, percent, span, would_have_seen
from numembed.examinations.maps.compute import Maps, MapTruth, Seeds, maps
from numembed.examinations.registry import Answer, Implementation, Row


def maps_sentence(name: str, maps: Maps) -> str:
    """Return in a sentence whether a map shows groups of which the vectors know nothing."""
    caught = [title(one) for one in maps.maps if one.warning]
    if caught:
        return f"Not everywhere: the {listed(caught)} of {name} shows groups that its vectors do not have."
    if math.isnan(maps.space):
        return f"The families of this choice have no score, so the maps of {name} cannot be compared with it."
    return f"No clear groups were found in the maps of {name} that its vectors do not have."


def kept_sentence(maps: Maps) -> str:
    """Return in a sentence how much of the neighbourhoods each flat map keeps, beside noise."""
    flat = [one for one in maps.maps if one.dims == 2 and not math.isnan(one.overlap)]
    if not flat:
        return "There are too few different sequences for neighbourhoods."
    text = listed([f"{percent(one.overlap)} in {PROJECTIONS[one.method].title}" for one in flat])
    count = flat[0].neighbours
    nearest = f"each sequence's {count} nearest neighbours" if count > 1 else "the nearest neighbours"
    said = f"Of {nearest} in the vectors, the map keeps {text}."
    noise = [one.noise_overlap for one in flat if not math.isnan(one.noise_overlap)]
    if noise:
        low, high = percent(min(noise)), percent(max(noise))
        said += f" Maps of pure noise keep {low if low == high else f'{low} to {high}'} of theirs,"
    anyhow = f"oints in any order keep {percent(count / (maps.n - 1))}."
    return f"{said} and p{anyhow}" if noise else f"{said} P{anyhow}"


def scores_sentence(maps: Maps) -> str:
    """Return in a sentence or two how the families' score changes from the vectors to the maps."""
    flat = [one for one in maps.maps if one.dims == 2 and not math.isnan(one.silhouette)]
    if math.isnan(maps.space) or not flat:
        return "The families of this choice have no score."
    text = listed([f"{decimal(one.silhouette)} in {PROJECTIONS[one.method].title}" for one in flat])
    sure, other = p_that_counts(maps) <= LEVEL, maps.p <= LEVEL
    space = "more than chance" if sure else "not more than chance"
    space += "" if sure == other else " within windows"
    said = f"The families score {decimal(maps.space)} in the vectors, which is {space}, and {text}."
    beyond = [one for one in flat if one.silhouette > one.chance_high]
    if beyond and not sure:
        names = listed([PROJECTIONS[one.method].title for one in beyond])
        said += f" In {names} that is above what shuffled families reach, but the vectors decide, not the map."
    return said


def p_that_counts(maps: Maps) -> float:
    """Return p of the vectors' score: within windows where that is known, else over all windows; NaN if unknown."""
    return maps.p if math.isnan(maps.p_within) else maps.p_within


def seeds_sentence(seeds: Seeds, n: int) -> str:
    """Return in a few sentences what maps of the same vectors from several seeds have in common."""
    if math.isnan(seeds.stability) or math.isnan(seeds.kept):
        return "There are too few different sequences to compare maps."
    noise = "" if math.isnan(seeds.noise) else f", six maps of one set of noise {decimal(seeds.noise)}"
    start = " from random starts" if PROJECTIONS[seeds.method].facts.get("seeded_note") else ""
    nearest = f"each sequence's {seeds.nearest} nearest" if seeds.nearest > 1 else "the nearest"
    said = (
        f"Six maps of the same vectors{start} agree by {decimal(seeds.stability)} (identical maps 1, unrelated maps "
        f"{decimal(seeds.chance)}{noise}). Of {nearest} neighbours, two maps share "
        f"{percent(seeds.kept)}; points in any order would share {percent(min(1.0, seeds.nearest / (n - 1)))}."
    )
    low, high = min(seeds.silhouettes), max(seeds.silhouettes)
    if math.isnan(low) or math.isnan(high):
        return said
    return said + f" The families' score in these six ranges from {span(low, high)}."


def noise_sentence(maps: Maps, method: str) -> str:
    """Return in a sentence whether a map groups the families better than maps of noise do."""
    one = maps.of(method)
    if one is None or math.isnan(one.silhouette) or math.isnan(one.noise_highest):
        return "The families of this choice have no score in the maps."
    scores = f"{decimal(one.silhouette)} against {decimal(one.noise_highest)} at most"
    if one.silhouette > one.noise_highest:
        luck = f"as one map of noise in {maps.noise_maps + 1} would by chance"
        said = f"The families lie closer together in the model's map than in any of {maps.noise_maps} maps of noise"
        return f"{said}, {luck}: {scores}."
    return f"The families lie no closer together in the model's map than in {maps.noise_maps} maps of noise: {scores}."


def smallest_seen(maps: Maps) -> float | None:
    """Return the smallest silhouette in the vectors that the test would have seen."""
    within = not math.isnan(maps.p_within)
    mean, high = (maps.within_mean, maps.within_high) if within else (maps.chance_mean, maps.chance_high)
    return smallest_beyond(mean, sd_above(mean, high))


def smallest_in_map(maps: Maps, one: MapTruth) -> float | None:
    """Return the smallest silhouette in a map that would lie above all maps of noise in four cases of five.

    From the distance between the mean and the highest of normal numbers (Blom 1958).
    """
    if maps.noise_maps < 2 or math.isnan(one.noise_highest):
        return None
    normal = NormalDist()
    sd = (one.noise_highest - one.noise_silhouette) / normal.inv_cdf(
        (maps.noise_maps - 0.375) / (maps.noise_maps + 0.25)
    )
    return one.noise_highest + normal.inv_cdf(POWER) * sd


def seen_sentence(maps: Maps) -> str:
    """Return which score of the families in the vectors would have been more than chance, where it is not."""
    least = smallest_seen(maps) if p_that_counts(maps) > LEVEL else None
    return "" if least is None else would_have_seen(f"a silhouette of about {decimal(least)} in the vectors")


def groups_sentence(maps: Maps, method: str) -> str:
    """Return in a sentence whether the groups that the eye finds in a map are more than noise would show."""
    one = maps.of(method)
    if one is None or any(map(math.isnan, (one.groups, one.groups_space, one.groups_noise, one.groups_noise_space))):
        return ""
    said = "Without the family labels, the visible groups in it are"
    against = f"in {maps.noise_maps} maps of noise ({decimal(one.groups)} against {decimal(one.groups_noise)} at most)"
    if one.groups <= one.groups_noise:
        return f"{said} no clearer than {against}."
    clearer = f"{said} clearer than {against}, as those of one map of noise in {maps.noise_maps + 1} would be by chance"
    if one.groups_space > one.groups_noise_space:
        return f"{clearer}, and the vectors have them too, with {decimal(one.groups_space)}."
    return f"{clearer}, but in the vectors the same groups score {decimal(one.groups_space)}, as in noise."


def title(one: MapTruth) -> str:
    """Return the name of a map, such as "t-SNE map" or "PCA map in 3-D"."""
    return f"{PROJECTIONS[one.method].title} map" + (" in 3-D" if one.dims == 3 else "")


def rows(answer: Answer[Maps]) -> list[Row]:
    """Return all numbers as rows; ``part`` says what each belongs to. Points stand in the order of the sequences."""
    result = answer.found
    names = (
        "n",
        "dimension",
        "scatter",
        "chance_mean",
        "chance_low",
        "chance_high",
        "p",
        "p_within",
        "within_mean",
        "within_high",
    )
    space: Row = {
        "part": "space",
        "smallest_seen": smallest_seen(result),
        "silhouette": result.space,
        "twins": result.noise_maps,
    } | {name: getattr(result, name) for name in names}
    pictures = [("drawn", one) for one in result.drawn] + [("noise", one) for one in result.noise]
    return [
        space,
        *({"part": "map", **asdict(one), "smallest_seen": smallest_in_map(result, one)} for one in result.maps),
        *({"part": "seeds", **asdict(one)} for one in result.seeds),
        *({"part": part, **asdict(one)} for part, one in pictures),
    ]


IMPLEMENTATION = Implementation(
    Maps, maps, lambda answer: maps_sentence(answer.model, answer.found), rows, lists=("maps", "method", PROJECTIONS)
)
