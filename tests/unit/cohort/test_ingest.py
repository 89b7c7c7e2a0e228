"""From a folder to a store: pixels, split, records, and refusals that name nobody."""

from __future__ import annotations

import json
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthrelease.cohort.growing import GrowingArray
from synthrelease.cohort.ingest import ingest
from synthrelease.cohort.split import SplitDraw
from synthrelease.cohort.store import CohortStore, Split
from synthrelease.cohort.types import SourceImage
from synthrelease.errors import IntegrityError, SynthreleaseError, UnsuitableData, UsageError
from synthrelease.policy.schema import CohortSettings
from synthrelease.records.refusals import Reason, Refusal

Make = Callable[..., CohortSettings]
DRAW = SplitDraw(0.3, "00112233")


class Listed:
    """A reader of what it is given."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def read(self) -> Iterator[SourceImage | Refusal]:
        yield from self.items


def image(
    index: int, patient: int, *, digest: str | None = None, label: str | None = None, side: int = 32
) -> SourceImage:
    rng = np.random.default_rng(index)
    pixels = rng.uniform(-1, 1, (side, side)).astype(np.float32)
    masks = rng.random((1, side, side)) > 0.5
    return SourceImage(
        f"image {index}",
        f"H|SECRET{patient}",
        pixels,
        masks,
        label or ("normal", "sick")[index % 2],
        digest or f"{index:064x}",
    )


def stored(settings: CohortSettings, tmp_path: Path, items: Any, **options: Any) -> CohortStore:
    options = {"split": DRAW, "reader": Listed(items), **options}
    return ingest(settings, tmp_path, tmp_path / "run" / "store", **options)


def test_a_dicom_cohort_becomes_a_store(dicom: Any, settings: Make, tmp_path: Path) -> None:
    dicom.fill(24)
    store = ingest(settings(), dicom.finish(), tmp_path / "store", split=DRAW)
    m = store.manifest
    assert (m.images, m.patients, m.train_patients + m.holdout_patients) == (24, 24, 24)
    assert min(m.train_patients, m.holdout_patients) > 0
    assert (m.split_seed, m.holdout_fraction, m.refused) == ("00112233", 0.3, {})
    assert store.images(store.rows()).shape == (24, 1, 32, 32)
    assert store.masks(store.rows()).shape == (24, 1, 32, 32)
    assert store.labels.tolist() == [0, 1] * 12
    store.verify()


def test_a_table_becomes_a_store_at_a_coarser_resolution(pictures: Any, settings: Make, tmp_path: Path) -> None:
    levels = [pictures.add(f"{index}", ("normal", "sick")[index % 2]) for index in range(20)]
    store = ingest(settings(resolution=16), pictures.finish(), tmp_path / "store", split=DRAW)
    boxes = np.stack(levels).reshape(20, 16, 2, 16, 2).mean((2, 4)) / 255 * 2 - 1
    np.testing.assert_allclose(store.images(store.rows())[:, 0], boxes, atol=2e-5)
    assert set(np.unique(np.rint(store.masks(store.rows()) * 4))) == {0, 1, 2, 3, 4}


def test_pixels_and_masks_survive_to_one_step(settings: Make, tmp_path: Path) -> None:
    items = [image(index, index) for index in range(20)]
    store = stored(settings(), tmp_path, items)
    rows = np.array([7, 3])
    np.testing.assert_allclose(store.images(rows)[:, 0], [items[7].pixels, items[3].pixels], atol=1.6e-5)
    np.testing.assert_array_equal(store.masks(rows), np.stack([items[7].masks, items[3].masks]).astype(np.float32))  # type: ignore[arg-type]
    assert store.images(rows).dtype == store.masks(rows).dtype == np.float32
    assert [store.image_ids[row] for row in rows] == ["image 7", "image 3"]


def test_pixels_are_mapped_and_not_loaded(settings: Make, tmp_path: Path) -> None:
    store = stored(settings(), tmp_path, [image(index, index) for index in range(20)])
    assert isinstance(store._images, np.memmap)
    assert isinstance(store._masks, np.memmap)


def test_memory_does_not_grow_with_the_number_of_images(settings: Make, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        stored(settings(resolution=128), tmp_path, (image(i, i % 40, side=128) for i in range(count)))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    stored(settings(resolution=128), tmp_path, (image(i, i % 40, side=128) for i in range(40)))  # imports, caches
    few, many = peak(60), peak(240)
    pixels = 180 * 128 * 128 * 3
    assert many - few < pixels / 20


def test_no_patient_is_on_both_sides(settings: Make, tmp_path: Path) -> None:
    store = stored(settings(), tmp_path, [image(index, index % 25) for index in range(80)])
    train, holdout = store.rows(Split.TRAIN), store.rows(Split.HOLDOUT)
    assert not set(store.patient[train]) & set(store.patient[holdout])
    assert sorted([*train, *holdout]) == list(range(80))
    assert set(store.patients(Split.TRAIN)) == set(store.patient[train])
    assert set(store.patients(Split.HOLDOUT)) == set(store.patient[holdout])
    assert store.patients().tolist() == list(range(25))
    for patient in range(25):
        assert store.rows_of(patient).tolist() == [row for row in range(80) if store.patient[row] == patient]


def test_an_image_is_never_on_both_sides_of_the_audit_and_duplicates_are_counted(
    settings: Make, tmp_path: Path
) -> None:
    parted = 0
    for seed in range(12):
        items = [image(index, index, digest="f" * 64 if index in (2, 9, 17) else None) for index in range(20)]
        store = stored(settings(), tmp_path, items, split=SplitDraw(0.4, f"{seed:04x}"))
        assert store.manifest.duplicates_across_patients == 3
        train, holdout = set(store.patients(Split.TRAIN)), set(store.patients(Split.HOLDOUT))
        tied = {2, 9, 17}
        assert not (tied & train and tied & holdout)
        parted += store.manifest.aside_patients
        assert store.manifest.aside_patients == 20 - len(train) - len(holdout)
    assert parted > 0


def test_the_same_source_and_seed_give_the_same_store(settings: Make, tmp_path: Path) -> None:
    items = [image(index, index) for index in range(22)]
    one = stored(settings(), tmp_path, items).manifest
    assert stored(settings(), tmp_path, items).manifest == one
    assert stored(settings(), tmp_path, items, split=SplitDraw(0.3, "ff")).manifest.digest != one.digest
    assert stored(settings(), tmp_path, items[::-1], split=DRAW).manifest.digest != one.digest


def test_a_fresh_seed_is_recorded_and_draws_the_same_again(settings: Make, tmp_path: Path) -> None:
    items = [image(index, index) for index in range(40)]
    first = stored(settings(), tmp_path, items, split=SplitDraw(0.3))
    held = first.holdout.copy()
    again = stored(settings(), tmp_path, items, split=SplitDraw(0.3, first.manifest.split_seed or ""))
    np.testing.assert_array_equal(held, again.holdout)


def test_an_archive_has_no_holdout_and_may_be_small(dicom: Any, settings: Make, tmp_path: Path) -> None:
    dicom.add("SYN-1", label="sick", names=())
    store = ingest(settings(), dicom.finish(("sop_instance_uid", "label")), tmp_path / "store", split=None)
    assert (store.manifest.images, store.manifest.holdout_patients, store.manifest.split_seed) == (1, 0, None)
    assert not store.has_mask.any()
    assert store.rows(Split.TRAIN).tolist() == [0]


def test_a_store_without_segments_has_empty_masks(settings: Make, tmp_path: Path) -> None:
    items = [
        SourceImage(f"{i}", f"{i}", image(i, i).pixels, None, ("normal", "sick")[i % 2], f"{i:064x}") for i in range(20)
    ]
    store = stored(settings(segments=()), tmp_path, items)
    assert store.masks(np.arange(4)).shape == (4, 0, 32, 32)


def test_refusals_are_counted_in_the_manifest_and_listed_in_the_private_folder(settings: Make, tmp_path: Path) -> None:
    items = [*(image(index, index) for index in range(20)), Refusal(tmp_path / "x" / "y.dcm", Reason.NO_LABEL)]
    store = stored(settings(), tmp_path, items)
    assert store.manifest.refused == {Reason.NO_LABEL.value: 1}
    (line,) = (store.folder / "refusals.jsonl").read_text().splitlines()
    assert json.loads(line) == {"path": "x/y.dcm", "reason": Reason.NO_LABEL.value, "detail": ""}
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_progress_counts_everything_seen(settings: Make, tmp_path: Path) -> None:
    seen: list[int] = []
    items = [Refusal(tmp_path / "y", Reason.NO_LABEL), *(image(index, index) for index in range(20))]
    stored(settings(), tmp_path, items, progress=seen.append)
    assert seen == list(range(1, 22))


def refusal_of(settings: CohortSettings, tmp_path: Path, items: Any) -> str:
    with pytest.raises(UnsuitableData) as caught:
        stored(settings, tmp_path, items)
    assert not (tmp_path / "run" / "store").exists()
    assert list((tmp_path / "run").iterdir()) == []
    return str(caught.value)


def test_no_usable_image_is_fatal_with_the_reasons_counted(settings: Make, tmp_path: Path) -> None:
    items = [Refusal(tmp_path / f"SECRET{index}", Reason.NO_PATIENT) for index in range(3)]
    items.append(Refusal(tmp_path / "SECRET", Reason.COLOUR))
    message = refusal_of(settings(), tmp_path, items)
    assert "3 x patient id missing, 1 x colour image" in message
    assert "SECRET" not in message


def test_a_class_without_a_patient_is_fatal(settings: Make, tmp_path: Path) -> None:
    items = [image(index, index, label="normal") for index in range(20)]
    assert "no patient has the class sick" in refusal_of(settings(), tmp_path, items)


def test_too_few_patients_are_fatal(settings: Make, tmp_path: Path) -> None:
    items = [image(index, index % 19) for index in range(40)]
    assert "fewer than 20 patients" in refusal_of(settings(), tmp_path, items)
    assert stored(settings(), tmp_path, items, minimum_patients=19).manifest.patients == 19


def test_no_message_holds_an_id_or_a_path(dicom: Any, settings: Make, tmp_path: Path) -> None:
    dicom.add("SECRET-ID", label="martian", name="SECRET-FOLDER")
    dicom.add("SECRET-ID", label=None, name="SECRET-FOLDER-2")
    source = dicom.finish()
    raised: list[SynthreleaseError] = []
    for changes in ({}, {"label": {"csv": "none.csv"}}, {"label": {"column": "none"}}, {"reader": "table"}):
        with pytest.raises((UnsuitableData, UsageError)) as caught:
            ingest(settings(**changes), source, tmp_path / "store", split=DRAW)
        raised.append(caught.value)
    text = "".join(str(error) for error in raised)
    assert raised
    assert not [word for word in ("SECRET", "DOE", "martian", str(tmp_path), "image.dcm") if word in text]


def test_a_failure_leaves_the_old_store_and_no_pixels_behind(settings: Make, tmp_path: Path) -> None:
    before = stored(settings(), tmp_path, [image(index, index) for index in range(20)]).manifest

    def broken() -> Iterator[SourceImage]:
        yield image(0, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(settings(), tmp_path, broken())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["store"]
    assert CohortStore.open(tmp_path / "run" / "store").manifest == before


def test_leftovers_of_a_killed_run_are_swept_away(settings: Make, tmp_path: Path) -> None:
    leftover = tmp_path / "run" / ".partial-store-0123abcd"
    leftover.mkdir(parents=True)
    (leftover / "images.npy").write_bytes(b"private")
    stored(settings(), tmp_path, [image(index, index) for index in range(20)])
    assert not leftover.exists()


@pytest.mark.parametrize("name", ["cohort.json", "ids.json", "index.npz", "images.npy", "masks.npy"])
def test_a_store_that_lost_a_file_or_half_of_one_is_refused(settings: Make, tmp_path: Path, name: str) -> None:
    store = stored(settings(), tmp_path, [image(index, index) for index in range(20)])
    path = store.folder / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(IntegrityError):
        CohortStore.open(store.folder)
    path.unlink()
    with pytest.raises(IntegrityError):
        CohortStore.open(store.folder)


def test_one_changed_byte_is_found(settings: Make, tmp_path: Path) -> None:
    store = stored(settings(), tmp_path, [image(index, index) for index in range(20)])
    path = store.folder / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="changed"):
        CohortStore.open(store.folder).verify()


def test_a_growing_array_is_an_ordinary_npy_file(tmp_path: Path) -> None:
    array = GrowingArray(tmp_path / "a.npy", (2, 3), np.dtype("<u2"))
    for row in range(300):
        array.append(np.full((2, 3), row))
    with pytest.raises(ValueError, match="does not fit"):
        array.append(np.zeros((3, 2)))
    array.close()
    loaded = np.load(tmp_path / "a.npy")
    assert loaded.shape == (300, 2, 3)
    assert (loaded[299] == 299).all()
