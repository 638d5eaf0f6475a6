# Days in, a square for each out: a column is a week, a row a day of the week, and the colour says how warm it was.

BEGIN { FS = ","; colours = 8; first_limit = 0; limit_step = 5 }

FNR > 1 {
  if ($2 != year) {
    year = $2
    years++
    year_name[years] = year
    offset = weekday(day_number(year, 1, 1))
    day = -1
  }
  day++
  column = int((day + offset) / 7)
  colour = 0
  while (colour < colours - 1 && $7 >= first_limit + limit_step * (colour + 1)) colour++
  squares[years, colour] = squares[years, colour] " " column " " ((day + offset) % 7)
  if (substr($1, 9) == "01") month_column[years, $3] = column + ((day + offset) % 7 > 0)
}

END {
  block = 118
  svg_open(108 + block * years, "How warm each day was", "daily maximum")
  L = 62
  pitch = (R - L) / 54
  size = pitch * .86
  x = L
  for (colour = 0; colour < colours; colour++) {
    label = (first_limit + limit_step * colour) "&#176;"
    if (colour == 0) label = "under " (first_limit + limit_step) "&#176;"
    if (colour == colours - 1) label = label " or more"
    printf "<rect x='%.1f' y='66' width='11' height='11' rx='2' class='t%d'/>\n", x, colour
    text(x + 16, 76, "", label)
    x += colour == 0 ? 82 : 54
  }
  for (i = 1; i <= years; i++) {
    top = T + 26 + block * (i - 1)
    text(20, top - 6, "strong", year_name[i])
    for (month = 1; month <= 12; month++) {
      if ((i, month) in month_column) text(L + pitch * month_column[i, month], top - 6, "", month_name(month))
    }
    text(L - 8, top + pitch * 1.5 + 4, "end", "Mon")
    text(L - 8, top + pitch * 3.5 + 4, "end", "Wed")
    text(L - 8, top + pitch * 5.5 + 4, "end", "Fri")
    for (colour = 0; colour < colours; colour++) {
      n = split(squares[i, colour], at, " ")
      if (!n) continue
      path = ""
      for (k = 1; k < n; k += 2) {
        path = path sprintf("M%.1f %.1f", L + pitch * at[k], top + pitch * at[k + 1])
        path = path sprintf("h%.1fv%.1fh-%.1fz", size, size, size)
      }
      print "<path class='t" colour "' d='" path "'/>"
    }
  }
  svg_close()
}
