#!/bin/sh
# Makes weather.svg, the picture of the README, from real runs of the example in a folder of its own.
# usage: docs/img/weather.sh PATH/TO/kiln
set -eu

kiln=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -R "$here/../../pipelines" "$folder/"
cd "$folder"

run() {
    printf '$ kiln run -f pipelines/weather.toml\n'
    "$kiln" run -f pipelines/weather.toml -j4 --color always
}

{
    run
    printf '$ echo "# a comment" >>pipelines/recipes/weather/monthly.awk\n'
    echo "# a comment" >>pipelines/recipes/weather/monthly.awk
    run
} >terminal.txt
awk -v width=660 -v title="Two runs of the weather example" -f "$here/terminal.awk" terminal.txt >"$here/weather.svg"
