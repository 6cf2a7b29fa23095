"""Quantities as people write them. Each parser raises ValueError with a sentence."""

import re

DURATIONS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
RATES = {"kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9}


def parse_number(text, units, example):
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", text)
    if not found or found.group(2) not in units:
        raise ValueError(f"write a number with one of the units {', '.join(units)}, such as {example}")
    return float(found.group(1)) * units[found.group(2)]


def duration(text):
    """Seconds."""
    return 0.0 if text == "0" else parse_number(text, DURATIONS, "20ms")


def rate(text):
    """Bits a second; 0: unlimited."""
    return 0 if text == "unlimited" else int(parse_number(text, RATES, "1Gbit or unlimited"))


def size(text):
    """Bytes."""
    return int(parse_number(text, SIZES, "4KiB"))


def count(text):
    """A whole number from 1 on."""
    if not text.isdigit() or int(text) == 0:
        raise ValueError("write a whole number from 1 on")
    return int(text)


def yes_no(text):
    if text not in ("yes", "no"):
        raise ValueError("write yes or no")
    return text == "yes"


def percent(text):
    """A part of one."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", text)
    if not found or float(found.group(1)) > 100:
        raise ValueError("write a percentage from 0% to 100%")
    return float(found.group(1)) / 100


def show_duration(seconds):
    return f"{seconds * 1e3:g}ms" if seconds < 1 else f"{seconds:g}s"


def show_rate(bits):
    if not bits:
        return "unlimited"
    unit = next(u for u in ("Gbit", "Mbit", "kbit") if bits >= RATES[u] or u == "kbit")
    return f"{bits / RATES[unit]:g}{unit}"
