"""Reading and writing tables and JSON, and the few statistics that more than one recipe needs."""

import csv
import json
import math


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path, columns, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write_json(path, value):
    with open(path, "w", encoding="utf-8", newline="") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def mean(values):
    return math.fsum(values) / len(values)


def spread(values):
    """The standard deviation of a sample."""
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))


def scaled(row, scaling):
    """The features of a row, each with mean 0 and spread 1."""
    return [(float(row[f["name"]]) - f["mean"]) / f["spread"] for f in scaling["features"]]
