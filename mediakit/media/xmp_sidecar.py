"""Sidecars that photo managers read: an XMP packet with a description and keywords in it, beside
all that others have written there.

XMP specification, part 1 (ISO 16684-1): a description is an array of alternatives by language,
`x-default` the one without; keywords are an unordered array of `dc:subject`.
"""

import re
from collections.abc import Callable, Collection, Iterator
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from mediakit.errors import ItemError, show

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
XML = "http://www.w3.org/XML/1998/namespace"
_EMPTY = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about=""/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
# Characters that XML 1.0 can't hold
_IMPOSSIBLE = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Describe = Callable[[str], str]


def packet(held: bytes | None, name: str, describe: Describe, keywords: Collection[str]) -> bytes:
    """The content of a sidecar whose description is what `describe` makes of the one it has (""
    if none), and which has these keywords too; all else that is `held` stays as it is.

    ItemError corrupt if what is held is no XMP; `name` is how messages call it.
    """
    document = _parsed(_decoded(held, name) if held else _EMPTY, name)
    root = next(iter(document.getElementsByTagNameNS(RDF, "RDF")), None)
    if root is None:
        raise _damaged(name, "it holds no rdf:RDF")
    place = _description_block(document, root)
    _set_description(document, root, place, describe)
    if keywords:
        _add_keywords(document, root, place, keywords)
    # minidom writes no line ends behind what stands outside the root
    parts = [node.toxml() for node in document.childNodes]
    return ("\n".join(parts) + "\n").encode()


def description(data: bytes, name: str) -> str:
    """The description that a sidecar holds, "" if none; ItemError corrupt."""
    found = ""

    def look(held: str) -> str:
        nonlocal found
        found = held
        return held

    packet(data, name, look, ())
    return found


def _decoded(held: bytes, name: str) -> str:
    try:
        return held.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _damaged(name, "it is not text in UTF-8") from None


def _parsed(text: str, name: str) -> minidom.Document:
    if "<!DOCTYPE" in text:  # whose entities could grow without end, and which XMP never has
        raise _damaged(name, "it declares entities")
    try:
        return minidom.parseString(text.lstrip().encode())
    except ExpatError as error:
        raise _damaged(name, str(error)) from None


def _damaged(name: str, why: str) -> ItemError:
    return ItemError(
        "corrupt", f"{show(name)} is no XMP ({show(why)}); move it away, or write to another --out"
    )


def _description_block(document: minidom.Document, root: minidom.Element) -> minidom.Element:
    """The rdf:Description that has what is sought, else the first; made if there is none."""
    blocks = [node for node in _elements(root) if node.localName == "Description"]
    for block in blocks:
        if any(node.namespaceURI == DC for node in _elements(block)):
            return block
    if blocks:
        return blocks[0]
    made = _made(document, root, "Description")
    root.appendChild(made)
    return made


def _made(document: minidom.Document, root: minidom.Element, name: str) -> minidom.Element:
    """An element of RDF, under the prefix that it has in the file."""
    return document.createElementNS(RDF, f"{root.prefix}:{name}" if root.prefix else name)


def _elements(parent: minidom.Element) -> Iterator[minidom.Element]:
    for node in parent.childNodes:
        if isinstance(node, minidom.Element):
            yield node


def _set_description(
    document: minidom.Document, root: minidom.Element, place: minidom.Element, describe: Describe
) -> None:
    plain = ""
    for block in _elements(root):
        if block.hasAttributeNS(DC, "description"):  # the short form, which some write
            plain = block.getAttributeNS(DC, "description")
            block.removeAttributeNS(DC, "description")
    items = _array(document, root, place, "description", "Alt")
    default = next(
        (li for li in _elements(items) if li.getAttributeNS(XML, "lang") == "x-default"), None
    )
    if default is None:
        default = _made(document, root, "li")
        default.setAttributeNS(XML, "xml:lang", "x-default")
        items.insertBefore(default, items.firstChild)
    text = _IMPOSSIBLE.sub("", describe(_text(default) or plain))
    while default.firstChild:
        default.removeChild(default.firstChild)
    default.appendChild(document.createTextNode(text))


def _add_keywords(
    document: minidom.Document,
    root: minidom.Element,
    place: minidom.Element,
    keywords: Collection[str],
) -> None:
    items = _array(document, root, place, "subject", "Bag")
    known = {_text(li) for li in _elements(items)}
    for word in keywords:
        word = _IMPOSSIBLE.sub("", word)
        if word not in known:
            li = _made(document, root, "li")
            li.appendChild(document.createTextNode(word))
            items.appendChild(li)


def _array(
    document: minidom.Document, root: minidom.Element, place: minidom.Element, name: str, kind: str
) -> minidom.Element:
    """The array of a property of Dublin Core; made if there is none."""
    for node in root.getElementsByTagNameNS(DC, name):
        for array in _elements(node):
            return array
        if node.parentNode:  # it was given no array, which is worth nothing
            node.parentNode.removeChild(node)
    prop = document.createElementNS(DC, f"dc:{name}")
    prop.setAttribute("xmlns:dc", DC)
    array = _made(document, root, kind)
    prop.appendChild(array)
    place.appendChild(prop)
    return array


def _text(node: minidom.Element) -> str:
    return "".join(child.data for child in node.childNodes if isinstance(child, minidom.Text))
