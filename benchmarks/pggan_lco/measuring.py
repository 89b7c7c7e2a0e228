"""What is measured of one trained run: who sees the classes, how far the images are from real ones, what they teach."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.pggan_lco import before
from benchmarks.pggan_lco.judging import PANEL, Holdout, Judge, Share, labelled, nearest, shares, spread
from benchmarks.pggan_lco.runs import Note, Trained, case_of, trained
from benchmarks.pggan_lco.ways import UNSTOPPED, Made, Maker, asked_for, knows_nothing
from synthrelease.audit.case import AuditCase
from synthrelease.audit.images import ImageSet
from synthrelease.audit.profile import load_profile
from synthrelease.audit.runner import check_ids, run_audit
from synthrelease.cohort.store import Split

EACH, CURVE_EACH, ATTACKED_EACH = 100, 20, 30
"""Images of a class: of each way, of each point of the over-optimisation curve, of the attack on pixels."""
REFERENCE = 1000
"""Real training images among which the nearest is looked for: the judge saw none of them."""
JUDGE_STEPS = 300
FIDELITY = ("frechet", "kernel_distance", "prdc", "tstr_labels", "tstr_masks")
LABELS_ONLY = ("frechet", "kernel_distance", "prdc", "tstr_labels")
"""Of images whose masks are left out."""
SEED = 20_000
DRAWN = 12
"""Images of a row of the contact sheet."""


class Bench:
    """A judge, real images, and the generator that is measured.

    Args:
        trained: The run. quick: Few images and steps. note: Told what goes on.
    """

    def __init__(self, trained: Trained, *, quick: bool, note: Note) -> None:
        self.trained, self.quick, self.note = trained, quick, note
        store = trained.cohort
        self.names = store.manifest.classes
        self.holdout = Holdout.of(store)
        note("judge")
        began = time.process_time()
        self.judge = Judge(self.holdout.taught, len(self.names), steps=20 if quick else JUDGE_STEPS)
        self.judge_seconds = time.process_time() - began
        rows = np.random.default_rng(1).permutation(store.rows(Split.TRAIN))[:REFERENCE]
        self.reference = self.judge.features(labelled(store, rows).images)
        self.maker = Maker(trained.generator, trained.settings.lco, trained.settings.latent)
        tested = self.judge.features(self.holdout.tested.images)
        self.usual = float(nearest(tested, self.reference).median())
        self.usual_spread = spread(tested, self.holdout.tested.labels)

    def row(self, made: Made) -> dict[str, Any]:
        """One line of the table."""
        features = self.judge.features(made.images)
        seen = self.judge.classes(made.images)
        told = shares(seen, made.asked, len(self.names))
        by_class = [share.to_json() for share in told]
        return {
            "judge_hit": Share(int((seen == made.asked).sum()), len(seen)).to_json(),
            "judge_hit_of_accepted": Share(
                int((seen == made.asked)[made.accepted].sum()), int(made.accepted.sum())
            ).to_json(),
            "judge_hit_by_class": dict(zip(self.names, by_class, strict=True)),
            # A class of which there is no image counts as missed.
            "judge_hit_class_mean": float(np.mean([share["value"] for share in by_class])),
            "guide_hit": float(made.hits.float().mean()),
            "accepted": float(made.accepted.float().mean()),
            "calls": made.calls,
            "nearest_real": float(nearest(features, self.reference).median()) / self.usual,
            "spread": spread(features, made.asked) / self.usual_spread,
            "critic": made.critic,
        }

    def real(self) -> dict[str, Any]:
        """The same of real images of patients that neither judge nor generator saw; and of those that the guide accepts."""
        tested = self.holdout.tested
        with torch.no_grad():
            logits = torch.cat([self.maker.generator.guide(part) for part in torch.split(tested.images, 256)])
        hits = self.maker.hits(logits, tested.labels)
        return self.row(Made(tested.images, tested.labels, hits, hits, None, 0.0))

    def ways(self) -> dict[str, Any]:
        """Every way to an image of a class, judged alike."""
        each = 6 if self.quick else EACH
        asked = asked_for(len(self.names), each)
        self.note("latent class optimisation")
        began = time.process_time()
        steered = self.maker.searched(asked, SEED)
        seconds = time.process_time() - began
        self.note("its baselines")
        found = {
            "real": self.real(),
            "lco": self.row(steered),
            "unguided": self.row(self.maker.unguided(asked, SEED)),
            "post_hoc": self.row(self.maker.post_hoc(len(asked), SEED + 1)),
            "rejection": self.row(self.maker.rejected(asked, SEED + 2, steered.calls)),
        }
        self.note("attack on pixels")
        attacked = asked_for(len(self.names), 4 if self.quick else ATTACKED_EACH)
        found["pixels"] = self.row(self.maker.attacked(attacked, SEED + 3, jitter=0))
        found["pixels_jitter"] = self.row(self.maker.attacked(attacked, SEED + 3, jitter=self.maker.settings.jitter))
        return {
            "ways": found,
            "accepted_per_second_core": float(steered.accepted.sum()) / seconds,
            "milliseconds_a_call": 1000 * seconds / (steered.calls * len(asked)),
            "same_seed_same_bits": torch.equal(
                self.maker.searched(asked[:12], SEED + 9).images, self.maker.searched(asked[:12], SEED + 9).images
            ),
            "blind_guide_leaves_images_unguided": knows_nothing(self.maker, SEED),
        }

    def curve(self) -> list[dict[str, Any]]:
        """What more steps would do if nothing stopped them."""
        asked = asked_for(len(self.names), 4 if self.quick else CURVE_EACH)
        points = UNSTOPPED[:3] if self.quick else UNSTOPPED
        return [{"steps": steps} | self.row(self.maker.unstopped(asked, SEED + 4, steps)) for steps in points]

    def archive(self) -> dict[str, Any]:
        """The run's archive under the audit's fidelity checks, and one of unguided images with post-hoc labels."""
        self.note("archive")
        case = self.case
        count = len(case.synthetic)
        later = self.maker.post_hoc(count, SEED + 5)
        labels = later.asked.numpy().astype(np.int64)
        masks = np.zeros((count, *case.synthetic.masks.shape[1:]), dtype=np.float32)
        plain = ImageSet(later.images.numpy(), masks, labels, np.arange(count))
        return {
            "images": count,
            "lco": self._audited(case),
            "post_hoc": self._audited(
                AuditCase(case.train, case.holdout, plain, case.classes, case.segments), LABELS_ONLY
            ),
            "accepted_per_second_core": count / self.trained.sampled_seconds if self.trained.sampled_seconds else None,
        }

    def before(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What the private steps started from, under the checks of the archive; and images of either stage."""
        found, drawn = {}, {}
        for stage, generator in before.stages(self.trained).items():
            self.note(before.NAMES[stage])
            made, images = before.archive_of(generator, self.case.synthetic)
            found[stage] = self._audited(before.case_with(self.case, made))
            drawn[before.NAMES[stage]] = images[:DRAWN]
        return found, drawn

    @cached_property
    def case(self) -> AuditCase:
        """The audit's, over the run's archive."""
        return case_of(self.trained)

    def _audited(self, case: AuditCase, checks: tuple[str, ...] = FIDELITY) -> dict[str, Any]:
        profile = load_profile("standard", check_ids())
        record, _ = run_audit(case, profile, 0, only=checks)
        found: dict[str, Any] = {}
        for finding in record.to_json()["findings"]:
            if finding["id"] in checks:
                statistic = finding["statistic"]
                found[finding["id"]] = {key: statistic[key] for key in ("value", "low", "high")}
                found[finding["id"]]["details"] = {
                    key: value for key, value in finding["details"].items() if key.startswith(("auroc", "labels_"))
                }
        return found

    def pictures(self, count: int) -> dict[str, Tensor]:
        """(count, 1, H, W) made images by row of the contact sheet, none of them chosen."""
        out = {"unguided": self.maker.unguided(asked_for(1, count), SEED + 6).images}
        for index, name in enumerate(self.names):
            out[name] = self.maker.searched(torch.full((count,), index), SEED + 6).images
        return out


def measured(trained: Trained, *, quick: bool, note: Note) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Everything of one run: figures, and images of a contact sheet."""
    bench = Bench(trained, quick=quick, note=note)
    thresholds = trained.generator.thresholds
    figures: dict[str, Any] = {
        "resolution": trained.policy.cohort.resolution,
        "epsilon": trained.training["privacy"].get("epsilon"),
        "delta": trained.training["privacy"].get("delta"),
        "training_cpu_minutes": trained.minutes,
        "judge_networks": PANEL,
        "judge_cpu_seconds": bench.judge_seconds,
        "classes": list(bench.names),
        "thresholds": {key: tensor.tolist() for key, tensor in thresholds.tensors().items()},
        "told_apart": thresholds.told_apart.tolist(),
    }
    figures |= bench.ways()
    note("over-optimisation")
    figures["curve"] = bench.curve()
    figures["archive"] = bench.archive()
    sheets = bench.pictures(4 if quick else DRAWN)
    if trained.training["privacy"].get("epsilon") is not None:
        figures["before"], early = bench.before()
        sheets |= early
    return figures, sheets


def measured_policy(name: str, *, quick: bool, note: Note) -> dict[str, Any]:
    """Everything of the run of a policy, trained where it is not yet; images of its contact sheet under ``sheets``."""
    figures, sheets = measured(trained(name, quick=quick, note=note), quick=quick, note=note)
    return figures | {"sheets": sheets}


def excess(figures: Mapping[str, Any], *, of_accepted: bool = True) -> float:
    """The judge's hit rate above its own accuracy on real images: on accepted ones of both, or on all."""
    key = "judge_hit_of_accepted" if of_accepted else "judge_hit"
    return float(figures["ways"]["lco"][key]["value"] - figures["ways"]["real"][key]["value"])
