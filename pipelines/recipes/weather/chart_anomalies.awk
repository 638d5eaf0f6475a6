# Deviations from normal in, a bar for each month out: upwards where it was too warm.

BEGIN { FS = "," }

FNR > 1 {
  n++
  year[n] = $1
  month[n] = $2
  value[n] = $4
  if ($4 > top) top = $4 + 0
  if ($4 < bottom) bottom = $4 + 0
}

END {
  svg_open(340, "Warmer and colder than usual", "mean temperature against that of the month in all years, &#176;C")
  scale(floor(bottom, 1), ceiling(top, 1))
  for (tick = LOW; tick <= HIGH; tick++) {
    line(L, sy(tick), R, sy(tick), "grid")
    text(L - 8, sy(tick) + 4, "end", (tick > 0 ? "+" : tick < 0 ? "&#8722;" : "") (tick < 0 ? -tick : tick) "&#176;")
  }
  x = legend(L, "warm", "warmer")
  legend(x, "cool", "colder")
  step = (R - L) / n
  for (i = 1; i <= n; i++) {
    if (year[i] != last) {
      if (i > 1) line(L + step * (i - 1), T, L + step * (i - 1), B + 6, "grid")
      first[year[i]] = i
      last = year[i]
    }
    count[year[i]]++
    y = sy(value[i] > 0 ? value[i] : 0)
    height = sy(value[i] > 0 ? 0 : value[i]) - y
    bar(L + step * (i - .9), y, step * .8, height, value[i] > 0 ? "warm" : "cool", \
      sprintf("%s %d: %+.1f &#176;C", month_name(month[i]), year[i], value[i]))
  }
  line(L, sy(0), R, sy(0), "axis")
  for (i = 1; i <= n; i++) {
    if (first[year[i]] == i) text(L + step * (i - 1 + count[year[i]] / 2), B + 22, "mid", year[i])
  }
  svg_close()
}
