"""Sidecars, read back by parsers that are not ours."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mediakit.errors import ItemError
from mediakit.media.xmp_sidecar import DC, RDF, packet

LI = f"{{{RDF}}}li"
# As darktable writes them, shortened
DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:darktable="http://darktable.sf.net/"
    xmp:Rating="4"
    darktable:xmp_version="5">
   <darktable:history>
    <rdf:Seq>
     <rdf:li darktable:operation="exposure" darktable:params="gz02eJxj"/>
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
# As Lightroom writes them, shortened
LIGHTROOM = """\ufeff<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure2012="+0.35">
   <dc:description><rdf:Alt>
     <rdf:li xml:lang="de">ein Hund</rdf:li>
     <rdf:li xml:lang="x-default">my own words</rdf:li>
   </rdf:Alt></dc:description>
   <dc:subject><rdf:Bag><rdf:li>holiday</rdf:li><rdf:li>dog</rdf:li></rdf:Bag></dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""


def read(data: bytes) -> tuple[dict[str | None, str], list[str]]:
    """Descriptions by language, and keywords, as Python's own parser finds them."""
    root = ET.fromstring(data.decode().lstrip("\ufeff"))
    lang = "{http://www.w3.org/XML/1998/namespace}lang"
    described = {
        li.get(lang): li.text or "" for li in root.iterfind(f".//{{{DC}}}description//{LI}")
    }
    return described, [li.text or "" for li in root.iterfind(f".//{{{DC}}}subject//{LI}")]


def test_a_new_sidecar() -> None:
    text = 'a <red> & "blue" dog — Größe\x07'
    data = packet(None, "x.xmp", lambda old: old + text, ["dog", "red & blue"])
    assert read(data) == ({"x-default": text[:-1]}, ["dog", "red & blue"])
    assert data.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert data.rstrip().endswith(b'<?xpacket end="w"?>')


@pytest.mark.parametrize("held", [DARKTABLE, LIGHTROOM])
def test_all_else_is_kept(held: str) -> None:
    before = ET.fromstring(held.lstrip("\ufeff").encode())
    data = packet(held.encode(), "x.xmp", lambda old: "a dog", ["dog"])
    after = ET.fromstring(data)
    for element in before.iter():
        if element.tag.startswith(f"{{{DC}}}") or (element.text and "words" in element.text):
            continue
        found = [e for e in after.iter(element.tag) if e.attrib == element.attrib]
        assert found, element.tag
    assert "gz02eJxj" in data.decode() or "+0.35" in data.decode()
    described, words = read(data)
    assert described["x-default"] == "a dog"
    assert words.count("dog") == 1
    again = packet(data, "x.xmp", lambda old: "a dog", ["dog"])
    assert again == data  # nothing grows


def test_what_others_described_is_given() -> None:
    data = packet(LIGHTROOM.encode(), "x.xmp", lambda old: f"{old}, a dog", ["red"])
    described, words = read(data)
    assert described == {"de": "ein Hund", "x-default": "my own words, a dog"}
    assert words == ["holiday", "dog", "red"]


def test_a_description_in_the_short_form() -> None:
    short = DARKTABLE.replace('xmp:Rating="4"', f'xmlns:dc="{DC}" dc:description="mine"')
    described, _ = read(packet(short.encode(), "x.xmp", lambda old: f"{old}, too", ()))
    assert described == {"x-default": "mine, too"}


@pytest.mark.parametrize(
    "held",
    [
        b"no xml at all",
        b"<a/>",
        b"\xff\xfe<\0",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        LIGHTROOM.encode()[:-40],
    ],
)
def test_what_is_no_xmp_is_left_alone(held: bytes) -> None:
    with pytest.raises(ItemError, match=r"x\.xmp is no XMP") as raised:
        packet(held, "x.xmp", lambda old: "a dog", ())
    assert raised.value.code == "corrupt"


@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not installed")
def test_exiftool_reads_them(tmp_path: Path) -> None:
    for name, held in (("new.xmp", None), ("old.xmp", LIGHTROOM.encode())):
        file = tmp_path / name
        file.write_bytes(packet(held, name, lambda old: "a big dog", ["dog", "grass"]))
        told = subprocess.run(
            ["exiftool", "-j", "-validate", "-Description", "-Subject", "-Exposure2012", file],
            capture_output=True, check=True,
        )  # fmt: skip
        (found,) = json.loads(told.stdout)
        assert found["Description"] == "a big dog"
        assert {"dog", "grass"} <= set(found["Subject"])
        assert found["Validate"] == "OK"
    assert float(found["Exposure2012"]) == 0.35
