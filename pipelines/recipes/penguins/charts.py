"""Penguins, islands and trends in, charts out."""

import os
import sys

import svg
import table


def bills(rows, trends, path):
    """All penguins as points, with a line of best fit over all and for each species."""
    chart = svg.Chart(460, "Longer bills are deeper bills", "for each species; over all species it looks the other way round")
    xs = [float(row["bill_length_mm"]) for row in rows]
    ys = [float(row["bill_depth_mm"]) for row in rows]
    chart.y_axis(*svg.around(ys, 2), 2, "bill depth, mm")
    chart.x_axis(*svg.around(xs, 5), 5, "bill length, mm")
    names = sorted({row["species"] for row in rows})
    for species in names:
        chart.key(lambda x, y, s=species: chart.mark(x, y, s, size=5), species)
    chart.key(lambda x, y: chart.line(x - 12, y, x + 8, y, "fit-all"), "all penguins")
    for row, x, y in zip(rows, xs, ys):
        tip = "%s, %s: %.1f by %.1f mm" % (row["id"], row["species"], x, y)
        chart.mark(chart.x(x), chart.y(y), row["species"], tip)
    for name in names + ["all"]:
        trend = trends[name]
        ends = [(x, trend["intercept"] + trend["slope"] * x) for x in (trend["from"], trend["to"])]
        (x1, y1), (x2, y2) = ends
        kind = "fit-all" if name == "all" else "fit " + name.lower() + "-line"
        chart.line(chart.x(x1), chart.y(y1), chart.x(x2), chart.y(y2), kind)
    chart.save(path)


def weights(rows, path):
    """How many penguins of each species there are in each class of weight."""
    chart = svg.Chart(400, "How heavy they are", "penguins by body mass, in classes of 250 g")
    names = sorted({row["species"] for row in rows})
    width = 250
    counts = {}
    for row in rows:
        key = row["species"], int(float(row["body_mass_g"]) // width)
        counts[key] = counts.get(key, 0) + 1
    classes = sorted({key[1] for key in counts})
    totals = {c: sum(counts.get((name, c), 0) for name in names) for c in classes}
    chart.y_axis(0, svg.around(totals.values(), 10)[1], 10, "penguins")
    low, high = svg.around([classes[0] * width, (classes[-1] + 1) * width], 500)
    chart.x_axis(low, high, 500, "body mass, g")
    for species in names:
        chart.key(lambda x, y, s=species: chart.rect(x - 6, y - 6, 12, 12, s.lower()), species)
    for c in classes:
        base = 0
        x1, x2 = chart.x(c * width), chart.x((c + 1) * width)
        for species in names:
            count = counts.get((species, c), 0)
            if not count:
                continue
            tip = "%s, %d to %d g: %d" % (species, c * width, (c + 1) * width, count)
            top = chart.y(base + count)
            chart.rect(x1 + 1.5, top, x2 - x1 - 3, chart.y(base) - top, species.lower(), tip)
            base += count
    chart.line(chart.left, chart.bottom, chart.right, chart.bottom, "axis")
    chart.save(path)


def islands(groups, path):
    """Which species live on which island."""
    names = sorted({row["island"] for row in groups})
    chart = svg.Chart(170 + 46 * len(names), "Who lives where", "penguins by island and species")
    chart.left = chart.key_x = 104
    totals = {name: sum(int(row["penguins"]) for row in groups if row["island"] == name) for name in names}
    chart.x_axis(0, svg.around(totals.values(), 25)[1], 25, "penguins")
    for species in sorted({row["species"] for row in groups}):
        chart.key(lambda x, y, s=species: chart.rect(x - 6, y - 6, 12, 12, s.lower()), species)
    for i, name in enumerate(names):
        y = chart.top + 10 + 46 * i
        chart.text(chart.left - 10, y + 19, name, "end strong")
        base = 0
        for row in groups:
            if row["island"] != name:
                continue
            count = int(row["penguins"])
            x1, x2 = chart.x(base), chart.x(base + count)
            chart.rect(x1, y, x2 - x1 - 1.5, 30, row["species"].lower(), "%s, %s: %d" % (name, row["species"], count))
            chart.text((x1 + x2) / 2, y + 19.5, count, "mid inside")
            base += count
    chart.line(chart.left, chart.top, chart.left, chart.bottom, "axis")
    chart.save(path)


def main():
    penguins, groups, trends, folder = sys.argv[1:]
    rows = table.read(penguins)
    bills(rows, table.read_json(trends), os.path.join(folder, "bills.svg"))
    weights(rows, os.path.join(folder, "weights.svg"))
    islands(table.read(groups), os.path.join(folder, "islands.svg"))


main()
