"""Penguins in, training and test data out."""

import argparse
import hashlib

import table


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", required=True)
    parser.add_argument("--test-share", type=float, required=True)
    parser.add_argument("penguins")
    parser.add_argument("train")
    parser.add_argument("test")
    args = parser.parse_args()
    if not 0 < args.test_share < 1:
        parser.error("the share of the test data lies between 0 and 1")
    rows = table.read(args.penguins)

    def place(row):
        return hashlib.sha256((args.seed + ":" + row["id"]).encode()).hexdigest()

    tested = set()
    for species in sorted({row["species"] for row in rows}):
        some = sorted((row for row in rows if row["species"] == species), key=place)
        tested.update(row["id"] for row in some[: round(len(some) * args.test_share)])
    columns = list(rows[0])
    table.write(args.train, columns, [row for row in rows if row["id"] not in tested])
    table.write(args.test, columns, [row for row in rows if row["id"] in tested])


main()
