# Facts, years and charts in, a page that stands on its own out. `from` says what a line belongs to.

function esc(raw) {
  gsub(/&/, "\\&amp;", raw)
  gsub(/</, "\\&lt;", raw)
  return raw
}

function row(tag,    column, cells) {
  for (column = 1; column <= NF; column++) cells = cells "<" tag ">" esc($column) "</" tag ">"
  return "<tr>" cells "</tr>"
}

BEGIN {
  FS = ","
  place = esc(ENVIRON["PLACE"])
  print "<!DOCTYPE html>"
  print "<html lang='en'>"
  print "<head>"
  print "<meta charset='utf-8'>"
  print "<meta name='viewport' content='width=device-width, initial-scale=1'>"
  print "<meta name='color-scheme' content='light dark'>"
  print "<title>The weather in " place "</title>"
  print "<style>"
  print "body { font: 16px/1.5 system-ui, sans-serif; max-width: 780px; margin: 2rem auto; padding: 0 1rem; color: #1f2328; background: #f6f8fa; }"
  print "table { border-collapse: collapse; margin: 1rem 0; }"
  print "th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #d8dee4; font-variant-numeric: tabular-nums; }"
  print "figure { margin: 1.5rem 0; }"
  print "svg { max-width: 100%; height: auto; }"
  print "@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117; } th, td { border-color: #30363d; } }"
  print "</style>"
  print "</head>"
  print "<body>"
  print "<h1>The weather in " place "</h1>"
}

from == "charts" {
  if (FNR == 1) {
    if (!charts++) print "</table>"
    print "<figure>"
  }
  print
  if ($0 == "</svg>") print "</figure>"
  next
}

FNR == 1 {
  if (tables++) print "</table>"
  print "<table class='" from "'>"
  if (from == "yearly") gsub(/_/, " ")
  print row("th")
  next
}

{ print row("td") }

END { print "</body>"; print "</html>" }
