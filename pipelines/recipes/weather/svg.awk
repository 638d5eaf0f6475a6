# What every chart needs. Colours are classes, so that one style sheet serves light and dark backgrounds.

function esc(raw) {
  gsub(/&/, "\\&amp;", raw)
  gsub(/</, "\\&lt;", raw)
  return raw
}

# Opens a chart. The texts are XML already; the place and the years stand before `subtitle`.
function svg_open(height, title, subtitle) {
  W = ENVIRON["CHART_WIDTH"] ? ENVIRON["CHART_WIDTH"] + 0 : 760
  H = height
  L = 58; R = W - 24; T = 92; B = H - 40
  printf "<svg xmlns='http://www.w3.org/2000/svg' class='chart' width='%d' height='%d' viewBox='0 0 %d %d' role='img'>\n", W, H, W, H
  print "<title>" title "</title>"
  print "<style>"
  print ".chart text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; fill: #59636e; }"
  print ".chart .title { font-size: 18px; font-weight: 600; fill: #1f2328; }"
  print ".chart .strong { font-weight: 600; fill: #1f2328; }"
  print ".chart .sub { font-size: 13px; }"
  print ".chart .end { text-anchor: end; } .chart .mid { text-anchor: middle; }"
  print ".chart .bg { fill: #ffffff; stroke: #d8dee4; }"
  print ".chart .grid { stroke: #d8dee4; } .chart .axis { stroke: #8c959f; }"
  print ".chart .warm { fill: #e0602c; } .chart .cool { fill: #3987cf; } .chart .sunny { fill: #e5ac2e; }"
  print ".chart .rain { fill: #3987cf; } .chart .light { fill: #7fb9e6; } .chart .fog { fill: #98a1ab; } .chart .snow { fill: #a58be0; }"
  print ".chart .range { fill: #e5ac2e; fill-opacity: .28; }"
  print ".chart .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }"
  print ".chart .warm-line { stroke: #e0602c; } .chart .cool-line { stroke: #3987cf; }"
  print ".chart .dot { fill: #1f2328; fill-opacity: .55; }"
  print ".chart .t0 { fill: #4463b8; } .chart .t1 { fill: #5b93cf; } .chart .t2 { fill: #8cc3de; } .chart .t3 { fill: #b9d9a6; }"
  print ".chart .t4 { fill: #f1d36b; } .chart .t5 { fill: #f2a24a; } .chart .t6 { fill: #e56a3a; } .chart .t7 { fill: #c2333f; }"
  print "@media (prefers-color-scheme: dark) {"
  print ".chart text { fill: #9aa4af; }"
  print ".chart .title, .chart .strong { fill: #e6edf3; }"
  print ".chart .bg { fill: #161b22; stroke: #30363d; }"
  print ".chart .grid { stroke: #30363d; } .chart .axis { stroke: #6e7681; }"
  print ".chart .dot { fill: #e6edf3; }"
  print "}"
  print "</style>"
  printf "<rect class='bg' x='.5' y='.5' width='%d' height='%d' rx='8'/>\n", W - 1, H - 1
  text(20, 34, "title", title)
  text(20, 56, "sub", esc(ENVIRON["PLACE"]) ", " ENVIRON["YEARS"] " &#183; " subtitle)
}

function svg_close() { print "</svg>" }

function text(x, y, class, content) {
  printf "<text x='%.1f' y='%.1f' class='%s'>%s</text>\n", x, y, class, content
}

function line(x1, y1, x2, y2, class) {
  printf "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='%s'/>\n", x1, y1, x2, y2, class
}

function bar(x, y, width, height, class, tip) {
  printf "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' class='%s'><title>%s</title></rect>\n", x, y, width, height, class, tip
}

function dot(x, y, radius, class, tip) {
  printf "<circle cx='%.1f' cy='%.1f' r='%.1f' class='%s'><title>%s</title></circle>\n", x, y, radius, class, tip
}

# A legend's entry; returns where the next one starts.
function legend(x, class, label) {
  printf "<rect x='%.1f' y='66' width='11' height='11' rx='2' class='%s'/>\n", x, class
  text(x + 16, 76, "", label)
  return x + 36 + 7 * length(label)
}

# The vertical scale, from `low` at the bottom of the plot to `high` at its top.
function scale(low, high) { LOW = low; HIGH = high }

function sy(value) { return B - (value - LOW) / (HIGH - LOW) * (B - T) }

# A grid line and a label for every `step`; the bottom line, or that of zero, is the axis.
function axis(step, unit,    value) {
  for (value = LOW; value <= HIGH + step / 1000; value += step) {
    line(L, sy(value), R, sy(value), value == 0 || (LOW > 0 && value == LOW) ? "axis" : "grid")
    text(L - 8, sy(value) + 4, "end", sprintf("%d", value) unit)
  }
}

# The number of `step`s that it takes to reach `value`, as a value: for the end of a scale.
function ceiling(value, step) { return step * (int(value / step) + (value > step * int(value / step))) }

function floor(value, step) { return -ceiling(-value, step) }

# The labels of twelve months below the plot, and the middle of each.
function months(    month) {
  for (month = 1; month <= 12; month++) text(mx(month), B + 20, "mid", month_name(month))
}

function mx(month) { return L + (R - L) * (month - .5) / 12 }
