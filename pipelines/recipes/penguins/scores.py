"""Predictions of any number of models in, how good each of them is out."""

import sys

import table


def share(part, whole):
    return round(part / whole, 4) if whole else 0.0


def score(rows):
    names = sorted({row["species"] for row in rows} | {row["predicted"] for row in rows})
    confusion = {truth: {guess: 0 for guess in names} for truth in names}
    for row in rows:
        confusion[row["species"]][row["predicted"]] += 1
    right = sum(confusion[name][name] for name in names)
    return {
        "penguins": len(rows),
        "right": right,
        "accuracy": share(right, len(rows)),
        "recall": {n: share(confusion[n][n], sum(confusion[n].values())) for n in names},
        "precision": {n: share(confusion[n][n], sum(confusion[t][n] for t in names)) for n in names},
        "confusion": confusion,
    }


def main():
    output, sources = sys.argv[1], sys.argv[2:]
    scores = {}
    for source in sources:
        rows = table.read(source)
        scores[rows[0]["model"]] = score(rows)
    table.write_json(output, scores)


main()
