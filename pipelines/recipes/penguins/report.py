"""Tables, scores and charts in, a page that stands on its own out."""

import os
import sys
from html import escape

import table

HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Penguins</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 780px; margin: 2rem auto; padding: 0 1rem; color: #1f2328; background: #f6f8fa; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #d8dee4; font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0; }
svg { max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117; } th, td { border-color: #30363d; } }
</style>
</head>
<body>
<h1>Penguins of the Palmer Archipelago</h1>
"""


def grid(columns, rows):
    def line(tag, cells):
        return "<tr>%s</tr>" % "".join("<%s>%s</%s>" % (tag, escape(str(cell)), tag) for cell in cells)

    return "\n".join(["<table>", line("th", columns)] + [line("td", row) for row in rows] + ["</table>"])


def figures(folder):
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            yield "<figure>\n%s</figure>" % file.read()


def main():
    species, rejects, trends, scores, charts, model_charts, output = sys.argv[1:]
    groups, trends, scores = table.read(species), table.read_json(trends), table.read_json(scores)
    columns = list(groups[0])
    used, unused = trends["all"]["penguins"], len(table.read(rejects))
    parts = [
        HEAD + "<p>%d penguins, and %d without measurements.</p>" % (used, unused),
        "<h2>Measurements</h2>",
        grid([c.replace("_", " ") for c in columns], [[row[c] for c in columns] for row in groups]),
        "<p>Bill depth against bill length: the correlation is %.2f over all penguins, but %s.</p>"
        % (
            trends["all"]["correlation"],
            ", ".join("%.2f for %s" % (trends[name]["correlation"], name) for name in trends if name != "all"),
        ),
        *figures(charts),
        "<h2>Models</h2>",
        grid(
            ["model", "penguins", "right", "accuracy", "least recall"],
            [
                [
                    name,
                    score["penguins"],
                    score["right"],
                    "%.1f%%" % (100 * score["accuracy"]),
                    "%.1f%% (%s)" % min((100 * value, key) for key, value in score["recall"].items()),
                ]
                for name, score in scores.items()
            ],
        ),
        *figures(model_charts),
        "</body>\n</html>\n",
    ]
    with open(output, "w", encoding="utf-8", newline="") as file:
        file.write("\n".join(parts))


main()
