"""Fails when a model is not good enough."""

import json
import sys


def main():
    limit, source = float(sys.argv[1]), sys.argv[2]
    with open(source, encoding="utf-8") as file:
        scores = json.load(file)
    poor = [name for name in scores if scores[name]["accuracy"] < limit]
    text = ", ".join("%s %.1f%%" % (name, 100 * scores[name]["accuracy"]) for name in scores)
    if poor:
        sys.exit("not good enough: %s; %.1f%% is asked for" % (text, 100 * limit))
    print("good enough: " + text)


main()
