"""The OHIF viewer shows every mask on its image: exact pixels, names and colours, seen in a real browser.

Minutes of work, so `make clients` runs it and an ordinary test run does not. Pictures stay in build/clients/pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archive_forms import FORMS, SEGMENTS, Archive, Form, simulated
from client_needs import DEMANDED, need

from clients import ohif
from clients.orthanc import Orthanc
from synthrelease.cohort.phantom import SEGMENTS as SIMULATED_SEGMENTS
from synthrelease.dicom.segments import segment

PICTURES = Path(__file__).parents[2] / "build" / "clients" / "pictures"
SHOWN = tuple(form for form in FORMS if form.rows % 8 == 0)  # OHIF with Orthanc 1.10: see docs/clients.md
pytestmark = pytest.mark.skipif(not DEMANDED, reason="minutes in a browser: run by `make clients`")


@pytest.fixture(scope="module")
def seen(server: Orthanc, archive_of: Callable[[Form], Archive]) -> Mapping[Form, tuple[Archive, ohif.SeenStudy]]:
    """The first patient of an archive of every form, as the viewer shows it."""
    need(ohif.missing())
    need(ohif.browser_missing())
    archives = [archive_of(form) for form in SHOWN]
    studies = []
    for archive in archives:
        assert server.store(archive.files).refused == ()
        studies.append(str(pydicom.dcmread(archive.entries[0].image, stop_before_pixels=True).StudyInstanceUID))
    PICTURES.mkdir(parents=True, exist_ok=True)
    pictures = {study: PICTURES / f"{form.name}.png" for study, form in zip(studies, SHOWN, strict=True)}
    with ohif.ohif(server.url) as viewer:
        looks = ohif.look(viewer, studies, pictures)
    return {form: (archive, look) for form, archive, look in zip(SHOWN, archives, looks, strict=True)}


@pytest.mark.parametrize("form", SHOWN, ids=lambda form: form.name)
def test_the_viewer_shows_every_mask_exactly(seen: Mapping[Form, tuple[Archive, ohif.SeenStudy]], form: Form) -> None:
    archive, study = seen[form]
    entries = [entry for entry in archive.entries if entry.patient_id == archive.entries[0].patient_id]
    expected = {uid_of(path): entry.planes_of(path) for entry in entries for path in entry.masks}
    assert set(study.masks) == set(expected)
    for uid, planes in expected.items():
        shown = [one.mask.reshape(planes[0].shape) for one in study.masks[uid] if one.number > 0]
        assert np.array_equal(shown, planes)


@pytest.mark.parametrize("form", SHOWN, ids=lambda form: form.name)
def test_the_viewer_shows_names_and_colours(seen: Mapping[Form, tuple[Archive, ohif.SeenStudy]], form: Form) -> None:
    _, study = seen[form]
    shown = [one for segments in study.masks.values() for one in segments if one.number > 0]
    colors = {name: segment(name).rgb for name in SEGMENTS}
    if form.mask_kind == "labelmap":
        # OHIF 3.13 gives each segment of a label map the colour of the one before; when it no longer does, tell it in
        # docs/clients.md.
        colors = dict(zip(SEGMENTS, [(0, 0, 0), *colors.values()], strict=False))
    assert {(one.label, one.color) for one in shown} == set(colors.items())


@pytest.mark.parametrize("form", SHOWN, ids=lambda form: form.name)
def test_the_viewer_has_nothing_to_complain_of(seen: Mapping[Form, tuple[Archive, ohif.SeenStudy]], form: Form) -> None:
    _, study = seen[form]
    # Orthanc 1.10 cannot decode a one-bit JPEG 2000 frame; the viewer then takes it as it is stored.
    allowed = "500" if form.compression == "jpeg-2000" else None
    assert [text for text in study.complaints if allowed is None or not text.startswith(allowed)] == []


def test_a_simulated_radiograph_is_shown_with_its_masks(server: Orthanc, tmp_path: Path) -> None:
    """The picture of docs/clients.md."""
    need(ohif.missing())
    need(ohif.browser_missing())
    archive = simulated(tmp_path / "archive")
    (entry,) = archive.entries
    assert server.store(archive.files).refused == ()
    study = str(pydicom.dcmread(entry.image, stop_before_pixels=True).StudyInstanceUID)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with ohif.ohif(server.url) as viewer:
        (seen,) = ohif.look(viewer, [study], {study: PICTURES / "simulated.png"})
    assert seen.complaints == ()
    (shown,) = seen.masks.values()
    assert {one.label: one.color for one in shown} == {name: segment(name).rgb for name in SIMULATED_SEGMENTS}
    assert np.array_equal([one.mask.reshape(128, 128) for one in shown], entry.planes)


def uid_of(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)
