# Days of each kind of weather in, their shares in each month out.

BEGIN {
  FS = ","
  kinds = split("sunny light rain fog snow", class, " ")
  split("sun drizzle rain fog snow", label, " ")
}

FNR > 1 {
  days[$1] = $2
  for (kind = 1; kind <= kinds; kind++) count[$1, kind] = $(kind + 2)
}

END {
  svg_open(360, "What the sky was like", "share of days")
  scale(0, 100)
  axis(25, "%")
  x = L
  for (kind = 1; kind <= kinds; kind++) x = legend(x, class[kind], label[kind])
  width = (R - L) / 12 * .74
  for (month = 1; month <= 12; month++) {
    base = 0
    for (kind = 1; kind <= kinds; kind++) {
      share = days[month] ? 100 * count[month, kind] / days[month] : 0
      if (share == 0) continue
      bar(mx(month) - width / 2, sy(base + share), width, sy(base) - sy(base + share), class[kind], \
        sprintf("%s, %s: %.0f%% of days", month_name(month), label[kind], share))
      base += share
    }
  }
  line(L, sy(0), R, sy(0), "axis")
  months()
  svg_close()
}
