"""Training data in, mean and spread of each feature out."""

import sys

import table


def main():
    features, source, output = sys.argv[1:]
    rows = table.read(source)
    scaling = []
    for name in features.split(","):
        values = [float(row[name]) for row in rows]
        scaling.append({"name": name, "mean": round(table.mean(values), 4), "spread": round(table.spread(values), 4)})
    table.write_json(output, {"features": scaling})


main()
