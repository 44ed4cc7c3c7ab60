"""Plots as SVG: one panel under the other, a logarithmic axis below, a line for each server."""
import math

WIDE, HIGH, LEFT, TOP, GAP = 560, 150, 64, 44, 48
COLOURS = {"Nessen": "#0b62a4", "nginx": "#b8651b"}
OTHER = "#3d7a3d"
LETTER = 6.6    # the width of one, about


def ticks(most, count=4):
    """Round numbers from 0 up to `most` and a little over."""
    step = 10 ** math.floor(math.log10(most / count)) if most > 0 else 1
    step *= next(factor for factor in (1, 2, 5, 10) if most <= count * step * factor)
    return [step * number for number in range(math.ceil(most / step) + 1)] if most > 0 else [0, 1]


def short(value):
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.10g}"


def svg(title, axis, panels):
    """`panels` are (label of the vertical axis, {name: [(x, y)]}), x over 0."""
    xs = [x for _, lines in panels for points in lines.values() for x, _ in points]
    low, high = math.log10(min(xs)), math.log10(max(xs))
    at = lambda x: LEFT + (math.log10(x) - low) / ((high - low) or 1) * WIDE
    height = TOP + len(panels) * (HIGH + GAP) + 8
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + 24} {height}" font-family="sans-serif" font-size="11">',
             '<rect width="100%" height="100%" fill="white"/>', text(LEFT, 16, title, "#222", weight="bold", size=13)]
    names = list(dict.fromkeys(name for _, lines in panels for name in lines))
    x = LEFT + WIDE
    for name in reversed(names):
        parts.append(text(x, 16, name, COLOURS.get(name, OTHER), "end", "bold"))
        x -= LETTER * len(name) + 22
    for number, (label, lines) in enumerate(panels):
        parts += panel(TOP + number * (HIGH + GAP), label, lines, at, range(math.ceil(low), math.floor(high) + 1))
    parts.append(text(LEFT + WIDE / 2, height - 6, axis, "#222", "middle"))
    return "\n".join(parts) + "\n</svg>\n"


def panel(top, label, lines, at, decades):
    marks = ticks(max(y for points in lines.values() for _, y in points))
    y_at = lambda y: top + HIGH - y / marks[-1] * HIGH
    parts = [text(LEFT, top - 8, label, "#222")]
    for mark in marks:
        parts += [f'<path d="M{LEFT} {y_at(mark):.1f}h{WIDE}" stroke="{"#888" if mark == 0 else "#e4e4e4"}"/>',
                  text(LEFT - 6, y_at(mark) + 4, short(mark), "#444", "end")]
    for decade in decades:
        x = at(10 ** decade)
        parts += [f'<path d="M{x:.1f} {top}v{HIGH}" stroke="#e4e4e4"/>', text(x, top + HIGH + 14, short(10 ** decade), "#444", "middle")]
    for name, points in lines.items():
        colour = COLOURS.get(name, OTHER)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="' + " ".join(f"{at(x):.1f},{y_at(y):.1f}" for x, y in points) + '"/>')
        parts += [f'<circle cx="{at(x):.1f}" cy="{y_at(y):.1f}" r="2.6" fill="{colour}"/>' for x, y in points]
    return parts


def text(x, y, words, colour, anchor="start", weight="normal", size=11):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}">{words}</text>'
