"""Pictures of results, as SVG by hand. Knows no tools."""

from html import escape

STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .dim { fill: #656d76; font-size: 12px }
.head { font-size: 15px; font-weight: 600 } .line { stroke: #d0d7de } .one { stroke: #656d76; stroke-dasharray: 4 3 }
.goal { stroke: #cf222e; stroke-width: 2 } .back { fill: #ffffff }
@media (prefers-color-scheme: dark) { .back { fill: #0d1117 } text { fill: #e6edf3 } .dim { fill: #8d96a0 }
.line { stroke: #30363d } .one { stroke: #8d96a0 } }
</style>"""
COLOURS = ["#2f81f7", "#8250df", "#bf8700", "#1a7f37", "#cf222e", "#57606a", "#0a7ea4"]


def svg(width, height, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return "\n".join([head, STYLE, f'<rect class="back" width="{width}" height="{height}"/>', *parts, "</svg>"]) + "\n"


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def bar(x, y, width, height, colour, opacity=1.0):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height}" fill="{colour}" opacity="{opacity}"/>'


def ratios(results, goals, machine):
    """For each work how much time and processor time Kiln took as a ratio to ninja, with the goals."""
    rows = [(work, tools) for work, tools in results.items() if {"kiln", "ninja"} <= tools.keys()]
    values = {
        work: (tools["kiln"][0] / tools["ninja"][0], tools["kiln"][1] / max(tools["ninja"][1], 1e-4)) for work, tools in rows
    }
    most = min(4.0, max([2.0] + [max(pair) for pair in values.values()]))
    left, top, high, wide = 190, 70, 40, 520
    at = lambda ratio: left + wide * min(ratio, most) / most
    bottom = top + high * len(rows)
    parts = [text(16, 26, "Kiln, as a ratio to ninja at the same work", "head"), text(16, 46, machine, "dim")]
    for tick in range(int(most) + 1):
        kind = "one" if tick == 1 else "line"
        parts.append(f'<line class="{kind}" x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="{top - 6}" y2="{bottom}"/>')
        parts.append(text(at(tick), bottom + 16, f"{tick}", "dim", "middle"))
    for i, (work, tools) in enumerate(rows):
        y = top + high * i
        parts.append(text(left - 10, y + 17, work, "", "end"))
        goal = at(goals[work]) if work in goals else 0
        for k, ratio in enumerate(values[work]):
            parts.append(bar(left, y + 4 + 13 * k, at(ratio) - left, 11, COLOURS[0], 1.0 if k == 0 else 0.45))
            spent = tools["kiln"][k] * 1e3
            # Not across the mark of the goal.
            behind = goal if at(ratio) - 4 < goal < at(ratio) + 130 else at(ratio)
            parts.append(text(behind + 6, y + 14 + 13 * k, f"{ratio:.2f}  ({spent:,.1f} ms{' cpu' if k else ''})", "dim"))
        if goal:
            parts.append(f'<line class="goal" x1="{goal:.1f}" x2="{goal:.1f}" y1="{y + 1}" y2="{y + 31}"/>')
    legend = "full: elapsed time · pale: processor time · red: goal · dashed: ninja"
    parts.append(text(16, bottom + 40, legend, "dim"))
    return svg(left + wide + 150, bottom + 54, parts)


def shares(rows, title):
    """Bars of one width: rows of a label, a total in words, and a list of (part, number)."""
    left, top, high, wide = 200, 46, 74, 600
    out = [text(16, 26, title, "head")]
    for i, (label, total, parts) in enumerate(rows):
        whole = sum(number for _, number in parts)
        x, y = left, top + high * i
        out += [text(left - 12, y + 16, label, "", "end"), text(left - 12, y + 32, total, "dim", "end")]
        at_name = left
        for k, (name, number) in enumerate(parts):
            width = wide * number / whole
            out.append(bar(x, y + 2, width - 1, 24, COLOURS[k % len(COLOURS)]))
            if width > 30:
                middle = x + width / 2
                share = f"{100 * number / whole:.0f} %"
                out.append(f'<text x="{middle:.1f}" y="{y + 19}" text-anchor="middle" style="fill:#fff">{share}</text>')
            x += width
            out += [bar(at_name, y + 34, 10, 10, COLOURS[k % len(COLOURS)]), text(at_name + 14, y + 43, name, "dim")]
            at_name += 30 + 6.6 * len(name)
    return svg(left + wide + 30, top + high * len(rows), out)
