"""What annotations say and which pictures they mean."""

from __future__ import annotations

import pytest

from services.dataset.formats.voc import Annotation, Skipped, match, parse
from services.dataset.frames import Box
from shared.contract.errors import UserError
from tests.support.voc import annotation


def parsed(text: str | bytes, name: str = "a.xml") -> Annotation:
    result = parse(text if isinstance(text, bytes) else text.encode(), name)
    assert isinstance(result, Annotation)
    return result


def test_a_plain_one() -> None:
    result = parsed(annotation("pics\\a.jpg", [("ball", 1, 2, 30.5, 4e1)], folder="C:\\data\\pics"))
    assert result.filename == "a.jpg"
    assert result.folder == "pics"
    assert result.size == (64, 48)
    assert result.boxes == (Box("ball", 1, 2, 30.5, 40),)
    assert not result.is_negative


def test_no_object_is_a_negative() -> None:
    assert parsed(annotation("a.jpg")).is_negative


def test_path_names_the_picture_where_filename_is_missing() -> None:
    assert parsed("<annotation><path>/home/me/b.png</path></annotation>").filename == "b.png"


@pytest.mark.parametrize("size", [None, (0, 0), (-4, 3)])
def test_a_size_that_says_nothing(size: tuple[int, int] | None) -> None:
    assert parsed(annotation("a.jpg", size=size)).size is None


@pytest.mark.parametrize(
    ("given", "label"), [(" ball \n", "ball"), ("red  ball", "red ball"), ("ba\u0308ll", "b\u00e4ll"), ("Ball", "Ball")]
)
def test_labels_are_tidied_but_never_recased(given: str, label: str) -> None:
    assert parsed(annotation("a.jpg", [(given, 1, 1, 9, 9)])).boxes[0].label == label


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("<object><name>a</name></object>", "box_missing"),
        ("<object><name> </name><bndbox/></object>", "label_missing"),
        ("<object><name>a\u202eb</name><bndbox/></object>", "label_missing"),
        ("<object><bndbox/></object>", "label_missing"),
        ("<object><name>a</name><bndbox><xmin>1</xmin></bndbox></object>", "box_unreadable"),
    ],
)
def test_unusable_objects_are_counted(item: str, reason: str) -> None:
    result = parsed(f"<annotation><filename>a.jpg</filename>{item}{item}</annotation>")
    assert result.unusable == {reason: 2}
    assert not result.is_negative


@pytest.mark.parametrize("value", ["nan", "inf", "1e999", "", "12px", "0x10"])
def test_coordinates_that_are_no_numbers(value: str) -> None:
    text = annotation("a.jpg", [("a", 1, 1, 9, 9)]).replace("<xmax>9", f"<xmax>{value}")
    assert parsed(text).unusable == {"box_unreadable": 1}


def test_too_long_a_label() -> None:
    with pytest.raises(UserError) as caught:
        parse(annotation("a.jpg", [("x" * 65, 1, 1, 9, 9)]).encode(), "a.xml")
    assert caught.value.code == "label_too_long"
    assert "64" in caught.value.message


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;">]>'


@pytest.mark.parametrize("prolog", ["<!DOCTYPE annotation>", '<!DOCTYPE a SYSTEM "file:///etc/passwd">', BOMB])
def test_document_types_are_forbidden(prolog: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(annotation("a.jpg", prolog=prolog).encode(), "deep/a.xml")
    assert caught.value.code == "xml_dtd_forbidden"
    assert "deep/a.xml" in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<annotation>",
        b"\xff\xfe\x00",
        b"<?xml version='1.0' encoding='no-such'?><annotation/>",
        b"<?xml version='1.0' encoding='shift_jis'?><annotation/>",
        b"<annotation>&undefined;</annotation>",
        b"<a>" * 100_000,
    ],
)
def test_broken_xml_is_skipped(data: bytes) -> None:
    assert parse(data, "a.xml") == Skipped("a.xml", "xml_malformed")


def test_other_xml_is_skipped() -> None:
    assert parse(b"<svg/>", "a.xml") == Skipped("a.xml", "not_an_annotation")


def test_other_encodings_are_read() -> None:
    text = annotation("a.jpg", [("b\u00e4ll", 1, 1, 9, 9)])
    latin = b"<?xml version='1.0' encoding='iso-8859-1'?>" + text.encode("latin-1")
    wide = ("<?xml version='1.0' encoding='utf-16'?>" + text).encode("utf-16")
    assert parsed(latin).boxes == parsed(wide).boxes == parsed(text).boxes


def named(name: str, filename: str = "", folder: str = "") -> Annotation:
    return Annotation(name=name, filename=filename, folder=folder)


def pairs(annotations: list[Annotation], images: list[str]) -> tuple[dict[str, str], list[Skipped]]:
    matching = match(annotations, images)
    return {image: found.name for image, found in matching.pairs.items()}, matching.skipped


@pytest.mark.parametrize(
    ("name", "filename", "images", "expected"),
    [
        ("a.xml", "p.jpg", ["p.jpg", "q.jpg"], "p.jpg"),
        ("ann/a.xml", "p.jpg", ["images/p.jpg"], "images/p.jpg"),
        ("a.xml", "P.JPG", ["p.jpg"], "p.jpg"),
        ("a.xml", "p.png", ["p.jpg"], "p.jpg"),
        ("a.xml", "p", ["p.jpg"], "p.jpg"),
        ("a.xml", "", ["a.jpg"], "a.jpg"),
        ("a.xml", "gone.jpg", ["a.jpg"], "a.jpg"),
        ("ann/red/a.xml", "p.jpg", ["images/red/p.jpg", "images/blue/p.jpg"], "images/red/p.jpg"),
        ("one/a.xml", "p.jpg", ["one/p.jpg", "two/p.jpg"], "one/p.jpg"),
        ("x/one/ann/a.xml", "p.jpg", ["x/one/img/p.jpg", "x/two/img/p.jpg"], "x/one/img/p.jpg"),
        ("ann/a.xml", "p.jpg", ["p.jpg", "deep/down/p.jpg"], "p.jpg"),
    ],
)
def test_matching(name: str, filename: str, images: list[str], expected: str) -> None:
    assert pairs([named(name, filename)], images) == ({expected: name}, [])


def test_the_folder_element_breaks_a_tie() -> None:
    images = ["one/p.jpg", "two/p.jpg"]
    assert pairs([named("a.xml", "p.jpg", "two")], images)[0] == {"two/p.jpg": "a.xml"}
    assert pairs([named("a.xml", "p.jpg")], images) == ({}, [Skipped("a.xml", "image_ambiguous")])


def test_a_missing_picture() -> None:
    assert pairs([named("a.xml", "p.jpg")], ["b.jpg"]) == ({}, [Skipped("a.xml", "image_missing")])


def test_renamed_files_that_all_keep_the_old_name_inside() -> None:
    annotations = [named(f"{n}.xml", "000.jpg") for n in ("000", "001", "002")]
    found, skipped = pairs(annotations, ["000.jpg", "001.jpg", "002.jpg"])
    assert found == {"000.jpg": "000.xml", "001.jpg": "001.xml", "002.jpg": "002.xml"}
    assert not skipped


def test_two_annotations_of_one_picture() -> None:
    found, skipped = pairs([named("old/p.xml", "p.jpg"), named("p.xml", "p.jpg")], ["p.jpg"])
    assert found == {"p.jpg": "old/p.xml"}
    assert skipped == [Skipped("p.xml", "already_annotated")]
