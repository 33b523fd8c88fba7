"""Whether a grammar in GBNF can be followed, and comes to an end."""

from collections.abc import Callable

from mediakit.engines.llama.gbnf_reader import Choice, Name, Part, Reader, Repeat, Rules, Text
from mediakit.errors import UserError


def check_gbnf(text: str) -> None:
    """UserError bad_grammar, with a line number, where llama.cpp could not follow it or would never
    come to an end."""
    reader = Reader(text)
    try:
        _check(reader, reader.rules())
    except RecursionError:
        raise reader.error("the parentheses are nested too deeply") from None


def _check(reader: Reader, rules: Rules) -> None:
    if "root" not in rules:
        raise UserError("bad_grammar", "the grammar has no rule called root, with which all begins")
    for name in reader.used:
        if name.name not in rules:
            raise reader.error(f"there is no rule called {name.name}", name.at)
    empty = _empty(rules)
    for rule in rules:
        if _repeats_nothing(rules[rule], rules):
            raise reader.error(
                f"the rule {rule} repeats without end what may be empty; "
                "take the empty alternative out of what * or + repeats",
                reader.places[rule],
            )
        if _begins_with_itself(rule, rules, empty):
            raise reader.error(
                f"the rule {rule} begins with itself; put something before it, or use * or +",
                reader.places[rule],
            )
    endless = rules.keys() - _ending(rules)
    if "root" in endless:
        raise reader.error(
            "nothing that the grammar allows ever ends; give a rule a way out",
            reader.places[min(endless, key=lambda each: reader.places[each])],
        )


def _empty(rules: Rules) -> set[str]:
    """Rules that nothing at all satisfies."""
    return _fixed(rules, lambda part, known: _is_empty(part, known))


def _ending(rules: Rules) -> set[str]:
    """Rules that some text satisfies."""
    return _fixed(rules, lambda part, known: _can_end(part, known))


def _fixed(rules: Rules, holds: Callable[[Part, set[str]], bool]) -> set[str]:
    """The least set of rules for which that holds, given that it does for those in the set."""
    known: set[str] = set()
    while True:
        more = {name for name, choice in rules.items() if holds(choice, known)}
        if more <= known:
            return known
        known |= more


def _is_empty(part: Part, known: set[str]) -> bool:
    match part:
        case Text():
            return part.empty
        case Name():
            return part.name in known
        case Repeat():
            return part.least == 0 or _is_empty(part.part, known)
        case Choice():
            return any(all(_is_empty(each, known) for each in seq) for seq in part.sequences)


def _can_end(part: Part, known: set[str]) -> bool:
    match part:
        case Text():
            return True
        case Name():
            return part.name in known
        case Repeat():
            return part.least == 0 or _can_end(part.part, known)
        case Choice():
            return any(all(_can_end(each, known) for each in seq) for seq in part.sequences)


def _repeats_nothing(part: Part, rules: Rules) -> bool:
    """Whether there is an endless repetition of something with an empty alternative, which
    llama.cpp refuses; it takes ("a"?)*, where that is not plain to see."""
    match part:
        case Repeat():
            inner = rules[part.part.name] if isinstance(part.part, Name) else part.part
            plain = isinstance(inner, Choice) and not all(map(_is_text, inner.sequences))
            return (part.endless and plain) or _repeats_nothing(part.part, rules)
        case Choice():
            return any(_repeats_nothing(each, rules) for seq in part.sequences for each in seq)
        case _:
            return False


def _is_text(sequence: tuple[Part, ...]) -> bool:
    return not all(isinstance(part, Text) and part.empty for part in sequence)


def _begins_with_itself(rule: str, rules: Rules, empty: set[str]) -> bool:
    seen: set[str] = set()
    left = _first(rules[rule], empty)
    while left:
        name = left.pop()
        if name == rule:
            return True
        if name not in seen:
            seen.add(name)
            left |= _first(rules[name], empty)
    return False


def _first(part: Part, empty: set[str]) -> set[str]:
    """The rules that can stand at its beginning."""
    match part:
        case Text():
            return set()
        case Name():
            return {part.name}
        case Repeat():
            return _first(part.part, empty)
        case Choice():
            found: set[str] = set()
            for sequence in part.sequences:
                for each in sequence:
                    found |= _first(each, empty)
                    if not _is_empty(each, empty):
                        break
            return found
