# Normals in, the range from night to day of each month out.

BEGIN { FS = "," }

FNR > 1 {
  high[$1] = $5
  low[$1] = $6
  if (!n++ || $5 > top) top = $5
  if (n == 1 || $6 < bottom) bottom = $6
}

END {
  svg_open(380, "Nights and days through the year", "mean daily minimum and maximum, &#176;C")
  scale(floor(bottom < 0 ? bottom : 0, 5), ceiling(top, 5))
  axis(5, "&#176;")
  x = legend(L, "warm", "maximum")
  legend(x, "cool", "minimum")
  for (month = 1; month <= 12; month++) {
    up = up sprintf("%s%.1f,%.1f", month > 1 ? " " : "", mx(month), sy(high[month]))
    under = under sprintf("%s%.1f,%.1f", month > 1 ? " " : "", mx(month), sy(low[month]))
    back = sprintf(" %.1f,%.1f", mx(month), sy(low[month])) back
  }
  print "<polygon class='range' points='" up back "'/>"
  print "<polyline class='line warm-line' points='" up "'/>"
  print "<polyline class='line cool-line' points='" under "'/>"
  for (month = 1; month <= 12; month++) {
    dot(mx(month), sy(high[month]), 4, "warm", sprintf("%s: %.1f &#176;C", month_name(month), high[month]))
    dot(mx(month), sy(low[month]), 4, "cool", sprintf("%s: %.1f &#176;C", month_name(month), low[month]))
    text(mx(month), sy(high[month]) - 10, "mid strong", sprintf("%.0f", high[month]))
    text(mx(month), sy(low[month]) + 20, "mid strong", sprintf("%.0f", low[month]))
  }
  months()
  svg_close()
}
