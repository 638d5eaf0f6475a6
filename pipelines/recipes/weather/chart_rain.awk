# Normals and months in; the rain of each month out, as a bar for the mean and a dot for each year.

BEGIN { FS = "," }

FNR == 1 { file++; next }

file == 1 { mean[$1] = $3 }

file == 2 {
  n++
  year[n] = $1
  month_of[n] = $2
  rain[n] = $4
  if ($4 > top) top = $4
}

END {
  svg_open(360, "Rain through the year", "mm per month")
  scale(0, ceiling(top, 50))
  axis(50, "")
  x = legend(L, "rain", "mean of all years")
  printf "<circle cx='%.1f' cy='71.5' r='4' class='dot'/>\n", x + 6
  text(x + 16, 76, "", "one year")
  width = (R - L) / 12 * .62
  for (month = 1; month <= 12; month++) {
    bar(mx(month) - width / 2, sy(mean[month]), width, B - sy(mean[month]), "rain", \
      sprintf("%s: %.0f mm in a mean year", month_name(month), mean[month]))
  }
  for (i = 1; i <= n; i++) {
    shift = ((year[i] - year[1]) % 4 - 1.5) * width / 5
    dot(mx(month_of[i]) + shift, sy(rain[i]), 3.2, "dot", \
      sprintf("%s %d: %.0f mm", month_name(month_of[i]), year[i], rain[i]))
  }
  line(L, sy(0), R, sy(0), "axis")
  months()
  svg_close()
}
