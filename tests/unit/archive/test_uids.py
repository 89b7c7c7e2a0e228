"""UIDs: a function of the release, one for each thing, always 44 characters."""

from __future__ import annotations

import inspect
import uuid

import pytest

from synthrelease.dicom.release.uids import UidKind, release_uid


def test_the_same_release_gives_the_same_uids() -> None:
    assert release_uid("r1", UidKind.IMAGE, 7) == release_uid("r1", UidKind.IMAGE, 7)
    # Written down, so that a change of the recipe cannot slip in unseen.
    assert release_uid("r1", UidKind.IMAGE, 7) == "2.25.326914810467941167033074510235571346158"


def test_release_edition_kind_and_index_each_change_the_uid() -> None:
    base = release_uid("r1", UidKind.IMAGE, 7)
    others = {
        release_uid("r2", UidKind.IMAGE, 7),
        release_uid("r1", UidKind.MASK, 7),
        release_uid("r1", UidKind.IMAGE, 8),
        release_uid("r1", UidKind.IMAGE, 7, edition="abc"),
        release_uid("r1", UidKind.IMAGE, 7, part=1),
        release_uid("r1", UidKind.IMAGE, 7, part=2),
    }
    assert len(others | {base}) == 7


def test_no_two_objects_of_a_release_share_a_uid() -> None:
    uids = {release_uid("r1", kind, index) for kind in UidKind for index in range(2000)}
    assert len(uids) == 2000 * len(UidKind)


def test_every_uid_is_a_uuid_of_44_characters() -> None:
    for index in range(500):
        uid = release_uid("a longer release name", UidKind.STUDY, index)
        assert len(uid) == 44
        number = uuid.UUID(int=int(uid.removeprefix("2.25.")))
        assert number.variant == uuid.RFC_4122
        assert number.version == 8


def test_shifting_text_between_name_and_edition_changes_the_uid() -> None:
    assert release_uid("a' 'b", UidKind.IMAGE, 0) != release_uid("a", UidKind.IMAGE, 0, edition="b")
    assert release_uid("ab", UidKind.IMAGE, 0) != release_uid("a", UidKind.IMAGE, 0, edition="b")


def test_a_uid_has_no_input_for_a_source_uid() -> None:
    assert list(inspect.signature(release_uid).parameters) == ["release_name", "kind", "index", "part", "edition"]


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        release_uid("r1", UidKind.IMAGE, -1)
    with pytest.raises(ValueError, match="negative"):
        release_uid("r1", UidKind.MASK, 1, part=-1)
