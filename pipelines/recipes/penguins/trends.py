"""Penguins in, a line of best fit out: bill depth against bill length, over all and for each species."""

import math
import sys

import table


def fit(rows):
    xs = [float(row["bill_length_mm"]) for row in rows]
    ys = [float(row["bill_depth_mm"]) for row in rows]
    x0, y0 = table.mean(xs), table.mean(ys)
    xy = math.fsum((x - x0) * (y - y0) for x, y in zip(xs, ys))
    xx = math.fsum((x - x0) ** 2 for x in xs)
    yy = math.fsum((y - y0) ** 2 for y in ys)
    return {
        "penguins": len(rows),
        "slope": round(xy / xx, 5),
        "intercept": round(y0 - xy / xx * x0, 5),
        "correlation": round(xy / math.sqrt(xx * yy), 4),
        "from": min(xs),
        "to": max(xs),
    }


def main():
    source, output = sys.argv[1:]
    rows = table.read(source)
    trends = {"all": fit(rows)}
    for species in sorted({row["species"] for row in rows}):
        trends[species] = fit([row for row in rows if row["species"] == species])
    table.write_json(output, trends)


main()
