# Draws what a command printed to a terminal, colours included, as an SVG that is readable on light and on dark pages.
# How the picture of the README is made: see weather.sh beside this file.

function escaped(text) {
  gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text)
  return text
}

# The line as spans; `style` holds over from one line to the next.
function spans(line,    out, at, code, text) {
  out = ""
  while (match(line, /\033\[[0-9;]*m/)) {
    text = substr(line, 1, RSTART - 1)
    code = substr(line, RSTART + 2, RLENGTH - 3)
    line = substr(line, RSTART + RLENGTH)
    out = out span(text)
    style = (code == "0" || code == "") ? "" : style (style == "" ? "" : " ") "s" code
  }
  return out span(line)
}

function span(text) {
  if (text == "") return ""
  if (style == "") return escaped(text)
  return "<tspan class=\"" style "\">" escaped(text) "</tspan>"
}

{ lines[NR] = spans($0) }

END {
  height = NR * 20 + 44
  print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" width "\" height=\"" height "\" viewBox=\"0 0 " width " " height "\" role=\"img\">"
  print "<title>" escaped(title) "</title>"
  print "<style>"
  print "rect { fill: #f6f8fa; stroke: #d0d7de } circle { fill: #d0d7de }"
  print "text { font: 13.5px ui-monospace, SFMono-Regular, Menlo, Consolas, \"DejaVu Sans Mono\", monospace; fill: #1f2328; white-space: pre }"
  print ".s1 { font-weight: bold } .s2 { fill: #656d76 } .s31 { fill: #cf222e } .s32 { fill: #1a7f37 } .s33 { fill: #9a6700 } .s36 { fill: #1b7c83 }"
  print "@media (prefers-color-scheme: dark) {"
  print "rect { fill: #161b22; stroke: #30363d } circle { fill: #30363d } text { fill: #e6edf3 }"
  print ".s2 { fill: #8d96a0 } .s31 { fill: #ff7b72 } .s32 { fill: #3fb950 } .s33 { fill: #d29922 } .s36 { fill: #39c5cf }"
  print "}"
  print "</style>"
  print "<rect x=\"0.5\" y=\"0.5\" width=\"" width - 1 "\" height=\"" height - 1 "\" rx=\"8\"/>"
  for (i = 0; i < 3; i++) print "<circle cx=\"" 18 + i * 16 "\" cy=\"16\" r=\"4.5\"/>"
  for (i = 1; i <= NR; i++) print "<text x=\"18\" y=\"" 28 + i * 20 "\" xml:space=\"preserve\">" lines[i] "</text>"
  print "</svg>"
}
