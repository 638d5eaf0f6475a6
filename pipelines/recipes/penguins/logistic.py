"""Training data and scaling in, the weights of a multinomial logistic regression out."""

import math
import sys

import table

RATE = 1.0
DECAY = 0.001


def probabilities(weights, features):
    scores = [w[0] + math.fsum(a * b for a, b in zip(w[1:], features)) for w in weights]
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    total = math.fsum(powers)
    return [power / total for power in powers]


def main():
    epochs, source, scaling, output = sys.argv[1:]
    scaling = table.read_json(scaling)
    rows = table.read(source)
    species = sorted({row["species"] for row in rows})
    points = [(table.scaled(row, scaling), species.index(row["species"])) for row in rows]
    weights = [[0.0] * (len(scaling["features"]) + 1) for _ in species]
    for _ in range(int(epochs)):
        slopes = [[DECAY * w for w in row] for row in weights]
        for features, truth in points:
            for k, probability in enumerate(probabilities(weights, features)):
                error = (probability - (k == truth)) / len(points)
                slope = slopes[k]
                slope[0] += error
                for i, value in enumerate(features, 1):
                    slope[i] += error * value
        for row, slope in zip(weights, slopes):
            for i, value in enumerate(slope):
                row[i] -= RATE * value
    loss = -math.fsum(math.log(probabilities(weights, f)[truth]) for f, truth in points) / len(points)
    model = {
        "model": "logistic",
        "scaling": scaling,
        "epochs": int(epochs),
        "loss": round(loss, 6),
        "weights": {name: [round(w, 6) for w in row] for name, row in zip(species, weights)},
    }
    table.write_json(output, model)


main()
