"""Measurements in, numbered penguins and rejected lines out."""

import sys

import table

LIMITS = {
    "bill_length_mm": (25, 70),
    "bill_depth_mm": (10, 25),
    "flipper_length_mm": (150, 250),
    "body_mass_g": (2000, 7500),
}


def problem(row):
    for column, (low, high) in LIMITS.items():
        if row[column] in ("", "NA"):
            return column + " is missing"
        if not low <= float(row[column]) <= high:
            return column + " is impossible: " + row[column]
    return None


def main():
    source, good, bad = sys.argv[1:]
    penguins, rejects = [], []
    rows = table.read(source)
    columns = list(rows[0])
    for number, row in enumerate(rows, 1):
        wrong = problem(row)
        row["id"] = "P%03d" % number
        if wrong:
            rejects.append({"id": row["id"], "species": row["species"], "problem": wrong})
            continue
        if row["sex"] == "NA":
            row["sex"] = "unknown"
        penguins.append(row)
    if not penguins:
        sys.exit("no usable line in " + source)
    table.write(good, ["id"] + columns, penguins)
    table.write(bad, ["id", "species", "problem"], rejects)


main()
