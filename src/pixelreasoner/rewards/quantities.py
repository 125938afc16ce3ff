r"""One way to write an answer that is a number, with its unit, percent or currency sign, or a time of day.

Each function takes the whole of a folded answer. What is no such thing comes back unchanged, and so does what
could be read in two ways: commas between digits group thousands here and stand for the decimal point there.
"""

from __future__ import annotations

import re

_UNIT_SIGNS = """
nm μm mm cm dm m km in ft yd mi m^2 km^2 cm^2 m^3 cm^3 ml cl dl l mg g kg t lb lbs oz
ms s sec min h hr hrs am pm km/h kmh kph mph m/s hz khz mhz ghz fps rpm
w kw mw gw wh kwh mwh v kv mv ma mah j kj cal kcal pa kpa bar psi db °c °f k
px pt dpi mp b kb mb gb tb
"""
UNITS = frozenset(_UNIT_SIGNS.split())
"""Letters after a number that are its unit, with a blank or without one: "5 cm" is "5cm"."""
_CURRENCIES = "$€£¥₹₩₽₺₪₫₱฿¢"
_SAME_UNIT = {
    "percent": "%", "per cent": "%", "%": "%",
    "°": "°", "degree": "°", "degrees": "°",
    "a.m": "am", "p.m": "pm", "a.m.": "am", "p.m.": "pm",
    "degrees celsius": "°c", "degrees fahrenheit": "°f",
    **{unit: unit for unit in UNITS},
}  # fmt: skip
"""How units are written -> the one way."""
_SAME_CURRENCY = {
    "dollar": "$", "dollars": "$", "euro": "€", "euros": "€", "eur": "€",
    **{sign: sign for sign in _CURRENCIES},
}  # fmt: skip
_SUFFIX = "|".join(map(re.escape, sorted((*_SAME_UNIT, *_SAME_CURRENCY), key=len, reverse=True)))
_QUANTITY = re.compile(
    rf"(?:(?P<first>[{_CURRENCIES}]) ?)?(?P<sign>[+-]?)(?:(?P<second>[{_CURRENCIES}]) ?)?"
    r"(?P<numeral>[0-9]+(?:,[0-9]{3})*(?:\.[0-9]*)?|\.[0-9]+)"
    rf"(?: ?(?P<suffix>{_SUFFIX}))?"
)
_LATEX_FRACTION = re.compile(r"([+-]?)(?:([0-9]+) ?)?\\[dt]?frac ?\{ ?([0-9]+) ?\} ?\{ ?([0-9]+) ?\}")
_TIME = re.compile(r"([0-9]{1,2}:[0-9]{2}) ?([ap])\.?m")
_NUMBERS = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:, (?![0-9]{3}(?![0-9]))[+-]?[0-9]+(?:\.[0-9]+)?){2,}")
"""Three numbers and more, none of which could be a group of thousands."""
_SPACED_RANGE = re.compile(r"([0-9.]+) - ([0-9.]+)")


def one_form(text: str) -> str:
    """`text` in the one way to write its quantity."""
    if match := _QUANTITY.fullmatch(text):
        return _quantity(match) or text
    if match := _LATEX_FRACTION.fullmatch(text):
        sign, whole, above, below = match.groups()
        return f"{sign}{f'{whole} ' if whole else ''}{above}/{below}"
    if match := _TIME.fullmatch(text):
        return f"{match[1]}{match[2]}m"
    if match := _SPACED_RANGE.fullmatch(text):
        return f"{match[1]}-{match[2]}"
    return text.replace(", ", ",") if _NUMBERS.fullmatch(text) else text


def _quantity(match: re.Match[str]) -> str | None:
    """Sign, currency, numeral, unit; None where two currencies are named."""
    suffix = match["suffix"] or ""
    currencies = [match["first"], match["second"], _SAME_CURRENCY.get(suffix)]
    named = [currency for currency in currencies if currency]
    if len(named) > 1:
        return None
    numeral = _numeral(match["numeral"])
    sign = "-" if match["sign"] == "-" and numeral.strip("0") else ""
    return sign + "".join(named) + numeral + _SAME_UNIT.get(suffix, "")


def _numeral(text: str) -> str:
    """A number without the zeros that say nothing.

    Text, not int(): an answer of ten thousand digits is a model's fault, not a conversion error.
    """
    if "," in text:
        return text
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{decimals}" if decimals else "")
