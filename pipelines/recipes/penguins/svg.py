"""SVG charts. Colours are classes, so that one style sheet serves light and dark backgrounds."""

import os
from xml.sax.saxutils import escape, quoteattr

STYLE = """\
.chart text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; fill: #59636e; }
.chart .title { font-size: 18px; font-weight: 600; fill: #1f2328; }
.chart .sub { font-size: 13px; } .chart .inside { font-weight: 600; fill: #ffffff; }
.chart .strong { font-weight: 600; fill: #1f2328; }
.chart .end { text-anchor: end; } .chart .mid { text-anchor: middle; }
.chart .bg { fill: #ffffff; stroke: #d8dee4; }
.chart .grid { stroke: #d8dee4; } .chart .axis { stroke: #8c959f; }
.chart .fit { fill: none; stroke-width: 2.5; stroke-linecap: round; }
.chart .fit-all { stroke: #59636e; stroke-width: 2; stroke-dasharray: 6 5; }
.chart .mark { fill-opacity: .8; }
.chart .adelie { fill: #cf5f17; } .chart .chinstrap { fill: #9560cc; } .chart .gentoo { fill: #14808e; }
.chart .adelie-line { stroke: #cf5f17; } .chart .chinstrap-line { stroke: #9560cc; } .chart .gentoo-line { stroke: #14808e; }
.chart .wrong { fill: none; stroke: #d1242f; stroke-width: 2; }
.chart .right-cell { fill: #2f9e6e; } .chart .wrong-cell { fill: #d1242f; } .chart .cell { fill: none; stroke: #d8dee4; }
@media (prefers-color-scheme: dark) {
.chart text { fill: #9aa4af; }
.chart .title, .chart .strong { fill: #e6edf3; }
.chart .bg { fill: #161b22; stroke: #30363d; }
.chart .grid { stroke: #30363d; } .chart .axis { stroke: #6e7681; }
.chart .fit-all { stroke: #9aa4af; }
.chart .wrong { stroke: #ff7b72; }
.chart .cell { stroke: #30363d; }
}
"""


class Chart:
    def __init__(self, height, title, subtitle):
        self.width = int(os.environ.get("CHART_WIDTH", "760"))
        self.height = height
        self.left, self.right, self.top, self.bottom = 64, self.width - 24, 96, height - 58
        self.body = []
        self.title = title
        self.text(20, 34, title, "title")
        self.text(20, 56, subtitle, "sub")
        self.key_x = self.left

    def add(self, markup):
        self.body.append(markup)

    def text(self, x, y, text, kind="", turn=None):
        turned = ' transform="rotate(%d %.1f %.1f)"' % (turn, x, y) if turn else ""
        self.add('<text x="%.1f" y="%.1f" class="%s"%s>%s</text>' % (x, y, kind, turned, escape(str(text))))

    def line(self, x1, y1, x2, y2, kind):
        self.add('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>' % (x1, y1, x2, y2, kind))

    def rect(self, x, y, width, height, kind, tip=""):
        inner = "<title>%s</title>" % escape(tip) if tip else ""
        size = 'x="%.1f" y="%.1f" width="%.1f" height="%.1f"' % (x, y, width, height)
        self.add('<rect %s class="%s">%s</rect>' % (size, kind, inner))

    def mark(self, x, y, species, tip="", size=4.2):
        """A mark whose form tells the species as well as its colour does."""
        kind = species.lower() + " mark"
        inner = "<title>%s</title>" % escape(tip) if tip else ""
        if species == "Adelie":
            self.add('<circle cx="%.1f" cy="%.1f" r="%.1f" class="%s">%s</circle>' % (x, y, size, kind, inner))
            return
        if species == "Gentoo":
            form = "M%.1f %.1fh%.1fv%.1fh-%.1fz" % (x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8, size * 1.8)
        else:
            form = "M%.1f %.1fl%.1f %.1fh-%.1fz" % (x, y - size * 1.2, size * 1.15, size * 2.1, size * 2.3)
        self.add('<path d="%s" class="%s">%s</path>' % (form, kind, inner))

    def key(self, draw, label):
        """An entry of the legend; `draw` is given the middle of its mark."""
        draw(self.key_x + 6, 76)
        self.text(self.key_x + 18, 80, label)
        self.key_x += 40 + 6.8 * len(label)

    def x_axis(self, low, high, step, label, form="%d"):
        self.x = lambda value: self.left + (value - low) / (high - low) * (self.right - self.left)
        for tick in ticks(low, high, step):
            self.line(self.x(tick), self.top, self.x(tick), self.bottom, "grid")
            self.text(self.x(tick), self.bottom + 20, form % tick, "mid")
        self.line(self.left, self.bottom, self.right, self.bottom, "axis")
        self.text((self.left + self.right) / 2, self.bottom + 42, label, "mid")

    def y_axis(self, low, high, step, label, form="%d"):
        self.y = lambda value: self.bottom - (value - low) / (high - low) * (self.bottom - self.top)
        for tick in ticks(low, high, step):
            self.line(self.left, self.y(tick), self.right, self.y(tick), "grid")
            self.text(self.left - 8, self.y(tick) + 4, form % tick, "end")
        self.text(20, (self.top + self.bottom) / 2, label, "mid", turn=-90)

    def save(self, path):
        size = 'width="%d" height="%d" viewBox="0 0 %d %d"' % (self.width, self.height, self.width, self.height)
        lines = [
            '<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label=%s %s>'
            % (quoteattr(self.title), size),
            "<style>\n" + STYLE + "</style>",
            '<rect class="bg" x=".5" y=".5" width="%d" height="%d" rx="8"/>' % (self.width - 1, self.height - 1),
        ]
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write("\n".join(lines + self.body + ["</svg>", ""]))


def ticks(low, high, step):
    return [low + step * i for i in range(int((high - low) / step + 1e-9) + 1)]


def around(values, step):
    """The nearest multiples of `step` that hold all values."""
    low, high = min(values) // step, -(-max(values) // step)
    return low * step, high * step
