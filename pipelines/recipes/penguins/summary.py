"""Penguins in, mean measurements for each group out."""

import sys

import table

MEASURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def main():
    keys, source, output = sys.argv[1:]
    keys = keys.split(",")
    groups = {}
    for row in table.read(source):
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    rows = []
    for group in sorted(groups):
        row = dict(zip(keys, group), penguins=len(groups[group]))
        for measure in MEASURES:
            row[measure] = "%.1f" % table.mean([float(r[measure]) for r in groups[group]])
        rows.append(row)
    table.write(output, keys + ["penguins"] + MEASURES, rows)


main()
