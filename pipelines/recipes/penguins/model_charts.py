"""Scores, test data and predictions in, charts out."""

import os
import sys

import svg
import table


def confusion(scores, path):
    """A square for each pair of what a penguin is and what it was taken for."""
    species = sorted({name for score in scores.values() for name in score["confusion"]})
    size = 76
    height = 142 + size * len(species)
    chart = svg.Chart(height, "What was taken for what", "test data: a row is what a penguin is, a column what the model said")
    block = (chart.width - 40) / len(scores)
    for i, (model, score) in enumerate(sorted(scores.items())):
        left = 20 + block * i + 84
        top = 122
        chart.text(left, top - 34, "%s: %.1f%% right" % (model, 100 * score["accuracy"]), "strong")
        for row, truth in enumerate(species):
            y = top + size * row
            chart.text(left - 10, y + size / 2 + 4, truth, "end")
            chart.text(left + size * (row + 0.5), top - 10, truth, "mid")
            total = sum(score["confusion"][truth].values())
            for column, guess in enumerate(species):
                count = score["confusion"][truth][guess]
                x = left + size * column
                chart.rect(x + 2, y + 2, size - 4, size - 4, "cell")
                if count:
                    kind = "right-cell" if truth == guess else "wrong-cell"
                    tip = "%s taken for %s: %d of %d" % (truth, guess, count, total)
                    chart.rect(x + 2, y + 2, size - 4, size - 4, kind, tip)
                chart.text(x + size / 2, y + size / 2 + 5, count, "mid inside" if count else "mid")
    chart.save(path)


def mistakes(rows, predictions, path):
    """The test data as points, with a ring around each that a model got wrong."""
    wrong = {}
    for prediction in predictions:
        if prediction["species"] != prediction["predicted"]:
            text = "%s says %s (%s)" % (prediction["model"], prediction["predicted"], prediction["confidence"])
            wrong.setdefault(prediction["id"], []).append(text)
    chart = svg.Chart(440, "Where the models err", "test data; a ring is a penguin that at least one model took for another species")
    xs = [float(row["bill_length_mm"]) for row in rows]
    ys = [float(row["bill_depth_mm"]) for row in rows]
    chart.y_axis(*svg.around(ys, 2), 2, "bill depth, mm")
    chart.x_axis(*svg.around(xs, 5), 5, "bill length, mm")
    for species in sorted({row["species"] for row in rows}):
        chart.key(lambda x, y, s=species: chart.mark(x, y, s, size=5), species)
    chart.key(lambda x, y: ring(chart, x, y, 6), "taken for another")
    for row, x, y in zip(rows, xs, ys):
        told = "; ".join([row["id"] + ", " + row["species"]] + wrong.get(row["id"], []))
        chart.mark(chart.x(x), chart.y(y), row["species"], told)
    for row, x, y in zip(rows, xs, ys):
        if row["id"] in wrong:
            ring(chart, chart.x(x), chart.y(y))
    chart.save(path)


def ring(chart, x, y, size=8):
    chart.add('<circle cx="%.1f" cy="%.1f" r="%d" class="wrong"/>' % (x, y, size))


def main():
    scores, test = sys.argv[1:3]
    predictions, folder = sys.argv[3:-1], sys.argv[-1]
    confusion(table.read_json(scores), os.path.join(folder, "confusion.svg"))
    rows = [row for source in predictions for row in table.read(source)]
    mistakes(table.read(test), rows, os.path.join(folder, "mistakes.svg"))


main()
