# Dry and wet spells in, the longest of each out as bars.

BEGIN { FS = ","; shown = 6 }

FNR == 1 { file++; next }

FNR <= shown + 1 {
  n++
  kind[n] = file
  start[n] = $1
  days[n] = $3
  rain[n] = $4
  if ($3 > top) top = $3 + 0
}

END {
  svg_open(150 + 24 * n, "The longest spells", "days in a row, with the day on which each began")
  L = 112
  R = W - 110
  x = legend(L, "sunny", "dry")
  legend(x, "rain", "wet")
  high = ceiling(top, 10)
  for (tick = 0; tick <= high; tick += 10) {
    x = L + (R - L) * tick / high
    line(x, T, x, B, tick ? "grid" : "axis")
    text(x, B + 20, "mid", tick)
  }
  y = T + 8
  for (i = 1; i <= n; i++) {
    if (i > 1 && kind[i] != kind[i - 1]) y += 10
    width = (R - L) * days[i] / high
    bar(L, y, width, 17, kind[i] == 1 ? "sunny" : "rain", "from " start[i] ": " days[i] " days")
    text(L - 8, y + 13, "end", start[i])
    text(L + width + 7, y + 13, "strong", days[i] " days" (kind[i] == 2 ? sprintf(", %.0f mm", rain[i]) : ""))
    y += 24
  }
  line(L, T, L, B, "axis")
  svg_close()
}
