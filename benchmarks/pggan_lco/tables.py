"""What plain and private runs have in common on the page: tables, and goals with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.pggan_lco.before import NAMES
from benchmarks.pggan_lco.measuring import excess
from benchmarks.pggan_lco.reference import goal

WAYS = {
    "real": "real images of further patients",
    "lco": "latent class optimisation",
    "unguided": "unguided, whatever was asked for",
    "post_hoc": "unguided, labelled by the guide afterwards",
    "rejection": "best of unguided images, at as many calls",
    "pixels": "control: attack on the guide by pixels",
    "pixels_jitter": "the same against the looks of the search",
}


def _panel(figures: Mapping[str, Any]) -> str:
    """Who judges; older figures have a single network's word."""
    networks = figures.get("judge_networks", 1)
    return "a network" if networks == 1 else f"a panel of {networks} networks"


def lines(title: str, figures: Mapping[str, Any]) -> list[str]:
    """The section of one run."""
    epsilon = figures["epsilon"]
    claim = "no privacy claim" if epsilon is None else f"epsilon {epsilon:.3g}, delta {figures['delta']:g}"
    apart = [name for name, told in zip(figures["classes"], figures["told_apart"], strict=True) if not told]
    out = [
        f"## {title}: {figures['resolution']} px, {claim}",
        "",
        f"Trained in {figures['training_cpu_minutes']:.1f} CPU minutes. Latent class optimisation gives "
        f"{figures['accepted_per_second_core']:.2g} accepted images a second and core "
        f"({figures['ways']['lco']['calls']:.1f} calls of the generator an image).",
        f"The judge is {_panel(figures)} of another architecture, trained on patients that neither generator nor guide saw; its "
        "accuracy on further patients is the first row. A hit is an image in which it sees the class that was asked for; the "
        "mean over classes counts each class alike, also where a way has few images of it or none.",
    ]
    if apart:
        out.append(f"The guide was not seen to tell {', '.join(apart)} from the rest on images that it had not seen.")
    names = figures["classes"]
    head = " | ".join(f"judge: {name}" for name in names)
    out += [
        "",
        f"| way | judge's hits | of accepted | mean over classes | {head} | accepted | guide's hits | calls | nearest real | "
        "spread | critic |",
        "|---|---|---|" + "---|" * (len(names) + 7),
    ]
    for key, words in WAYS.items():
        row = figures["ways"][key]
        by_class = " | ".join(_share(row["judge_hit_by_class"][name]) for name in names)
        out.append(
            f"| {words} | {_share(row['judge_hit'])} | {_share(row['judge_hit_of_accepted'])} | "
            f"{row['judge_hit_class_mean']:.2f} | {by_class} | "
            f"{row['accepted']:.2f} | {row['guide_hit']:.2f} | {row['calls']:.1f} | {row['nearest_real']:.2f} | "
            f"{row['spread']:.2f} | {number_words(row['critic'])} |"
        )
    out += [
        "",
        "Nearest real: median distance to the nearest of 1,000 real images in the judge's features, over that of real images; "
        "spread: mean distance within a class, over that of real images. Intervals are 95 % (Wilson).",
        f"Over-optimisation: the judge's hits are {excess(figures, of_accepted=False):+.2f} beside its own accuracy on all real "
        f"images, and {excess(figures):+.2f} beside that on the real images that the guide accepts for what they show, "
        "which is what a made image is asked to be like.",
        "",
        "What more steps would do if nothing stopped them (no acceptance, no restarts):",
        "",
        "| steps | judge's hits | guide's hits | nearest real | spread | critic |",
        "|---|---|---|---|---|---|",
    ]
    for row in figures["curve"]:
        out.append(
            f"| {row['steps']} | {_share(row['judge_hit'])} | {row['guide_hit']:.2f} | {row['nearest_real']:.2f} | "
            f"{row['spread']:.2f} | {number_words(row['critic'])} |"
        )
    archive = figures["archive"]
    out += [
        "",
        f"The archive of {archive['images']} images under the audit's fidelity checks, beside as many unguided images with the "
        "guide's labels:",
        "",
        "| check | by latent class optimisation | labelled afterwards |",
        "|---|---|---|",
    ]
    for check, found in archive["lco"].items():
        out.append(f"| {check} | {measured_words(found)} | {measured_words(archive['post_hoc'].get(check, {}))} |")
    for key, words in (
        ("auroc_real_trained", "AUROC, trained on real images"),
        ("auroc_synthetic_trained", "on the archive"),
    ):
        cells = [archive[a]["tstr_labels"]["details"].get(key) for a in ("lco", "post_hoc")]
        out.append(f"| {words} | {number_words(cells[0])} | {number_words(cells[1])} |")
    return out


def steering_goals(prefix: str, figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Latent class optimisation is judged by an independent classifier, beside its baselines and its control.

    Hits are compared as means over classes: images that are labelled afterwards are mostly of the classes that a
    generator makes anyway, and would win by never showing the others. The search asks for all classes alike, so its
    interval is one of that mean.
    """
    ways = figures["ways"]
    hit = {key: row["judge_hit_class_mean"] for key, row in ways.items()}
    return {
        f"{prefix}_judge_hits_low_end_above_post_hoc": goal(hit["post_hoc"], ways["lco"]["judge_hit"]["low"]),
        f"{prefix}_judge_hits_low_end_above_rejection": goal(hit["rejection"], ways["lco"]["judge_hit"]["low"]),
        f"{prefix}_judge_hits_low_end_above_unguided": goal(hit["unguided"], ways["lco"]["judge_hit"]["low"]),
        f"{prefix}_pixel_attack_high_end_below_lco": goal(
            ways["lco"]["judge_hit"]["low"], ways["pixels"]["judge_hit"]["high"], "at most"
        ),
        f"{prefix}_over_optimisation_above_real": goal(0.1, excess(figures), "at most"),
        f"{prefix}_nearest_real_beside_unguided": goal(
            1.15, ways["lco"]["nearest_real"] / max(ways["unguided"]["nearest_real"], 1e-9), "at most"
        ),
        f"{prefix}_accepted_share": goal(0.9, ways["lco"]["accepted"]),
        f"{prefix}_same_seed_same_bits": goal(1.0, float(figures["same_seed_same_bits"])),
        f"{prefix}_blind_guide_leaves_images_unguided": goal(1.0, float(figures["blind_guide_leaves_images_unguided"])),
    }


def utility_goals(prefix: str, figures: Mapping[str, Any], frechet: float | None) -> dict[str, dict[str, Any]]:
    """The archive teaches, and lies near the real images: ``frechet`` is the relative distance that is wanted, if any."""
    archive = figures["archive"]
    ours, later = (archive[key]["tstr_labels"]["details"].get("auroc_synthetic_trained") for key in ("lco", "post_hoc"))
    found = {
        f"{prefix}_tstr_auroc_beside_post_hoc": goal(later if later is not None else 0.5, ours),
        f"{prefix}_tstr_auroc_lost": goal(0.1, archive["lco"]["tstr_labels"]["value"], "at most"),
    }
    if frechet is not None:
        found[f"{prefix}_frechet"] = goal(frechet, archive["lco"]["frechet"]["value"], "at most")
    return found


def before_goals(prefix: str, figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A private run is no farther from the real images than what it started from."""
    reached = figures["archive"]["lco"]["frechet"]["value"]
    return {
        f"{prefix}_frechet_beside_{stage}": goal(found["frechet"]["value"], reached, "at most")
        for stage, found in figures["before"].items()
    }


def before_lines(figures: Mapping[str, Any]) -> list[str]:
    """The archive beside what the run started from, under the same checks."""
    stages = figures["before"]
    out = [
        "",
        "The archive beside what the run was before, with the same released sums, seed and classes:",
        "",
        "| check | " + " | ".join([*(NAMES[stage] for stage in stages), "the archive"]) + " |",
        "|---|" + "---|" * (len(stages) + 1),
    ]
    columns = [*stages.values(), figures["archive"]["lco"]]
    for check in figures["archive"]["lco"]:
        out.append(f"| {check} | " + " | ".join(measured_words(column.get(check, {})) for column in columns) + " |")
    aurocs = [number_words(column["tstr_labels"]["details"].get("auroc_synthetic_trained")) for column in columns]
    return [*out, "| AUROC, trained on it | " + " | ".join(aurocs) + " |"]


def _share(share: Mapping[str, Any]) -> str:
    return f"{share['value']:.2f} [{share['low']:.2f}, {share['high']:.2f}]" if share["of"] else "-"


def number_words(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None else f"{value:.3g}"


def measured_words(found: Mapping[str, Any]) -> str:
    """A check's value with its interval."""
    if found.get("value") is None:
        return "-"
    span = f" [{number_words(found['low'])}, {number_words(found['high'])}]" if found["low"] is not None else ""
    return number_words(found["value"]) + span
