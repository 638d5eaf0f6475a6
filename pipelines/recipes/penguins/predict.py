"""A model and test data in, a prediction for each penguin out."""

import math
import sys

import table


def scores(model, row):
    features = table.scaled(row, model["scaling"])
    if model["model"] == "centroid":
        return {
            species: -math.fsum((a - b) ** 2 for a, b in zip(features, centroid))
            for species, centroid in model["centroids"].items()
        }
    return {
        species: weights[0] + math.fsum(a * b for a, b in zip(weights[1:], features))
        for species, weights in model["weights"].items()
    }


def main():
    model, test, output = sys.argv[1:]
    model = table.read_json(model)
    rows = []
    for row in table.read(test):
        score = scores(model, row)
        best = max(sorted(score), key=score.get)
        confidence = 1 / math.fsum(math.exp(value - score[best]) for value in score.values())
        rows.append(
            {
                "model": model["model"],
                "id": row["id"],
                "species": row["species"],
                "predicted": best,
                "confidence": "%.3f" % confidence,
            }
        )
    table.write(output, ["model", "id", "species", "predicted", "confidence"], rows)


main()
