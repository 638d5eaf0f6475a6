# Fails unless the report, its charts and the days say the same. `from` says what a line belongs to.

function check(holds, message) {
  if (holds) return
  print "not consistent: " message | "cat 1>&2"
  failed = 1
}

BEGIN { FS = "," }

from == "days" && FNR > 1 { days++; rain += $6 }

from == "yearly" && FNR > 1 {
  years++
  year_days += $2
  year_rain += $3
  row[$1] = "<td>" $1 "</td><td>" $2 "</td><td>" $3 "</td>"
}

from == "charts" {
  if (FNR == 1) { charts++; check($0 ~ /^<svg /, FILENAME " is no SVG") }
  if ($0 == "</svg>") closed++
  if (!odd[FILENAME] && $0 ~ /[^a-z](nan|inf)[^a-z]/) {
    odd[FILENAME] = 1
    check(0, FILENAME " holds a value that is no number")
  }
}

from == "report" {
  if ($0 ~ /^<svg /) shown++
  for (year in row) if (!(year in listed) && index($0, row[year])) { listed[year]; found++ }
  if ($0 == "</html>") ended = 1
}

END {
  check(days == year_days, days " days, but the years have " year_days)
  check(rain - year_rain < 1 && year_rain - rain < 1, rain " mm of rain, but the years have " year_rain)
  check(charts > 0 && closed == charts, charts + 0 " charts, of which " closed + 0 " are complete")
  check(shown == charts, charts + 0 " charts, but the report shows " shown + 0)
  check(years > 0 && found == years, years + 0 " years, but the report lists " found + 0)
  check(ended, "the report has no end")
  if (failed) exit 1
  printf "consistent: %d days, %.1f mm of rain, %d charts\n", days, rain, charts
}
