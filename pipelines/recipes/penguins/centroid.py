"""Training data and scaling in, the centroid of each species out."""

import sys

import table


def main():
    source, scaling, output = sys.argv[1:]
    scaling = table.read_json(scaling)
    groups = {}
    for row in table.read(source):
        groups.setdefault(row["species"], []).append(table.scaled(row, scaling))
    centroids = {
        species: [round(table.mean(column), 6) for column in zip(*groups[species])] for species in sorted(groups)
    }
    table.write_json(output, {"model": "centroid", "scaling": scaling, "centroids": centroids})


main()
