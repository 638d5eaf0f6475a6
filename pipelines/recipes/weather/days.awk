# Observations as published in, checked days with columns to group by out. Needs dates.awk.

function fail(message) {
  print "line " NR ": " message | "cat 1>&2"
  close("cat 1>&2")
  failed = 1
  exit 1
}

BEGIN {
  FS = OFS = ","
  split("winter winter spring spring spring summer summer summer autumn autumn autumn winter", season, " ")
}

{ sub(/\r$/, "") }

NR == 1 {
  if ($0 != "date,precipitation,temp_max,temp_min,wind,weather") fail("unknown columns: " $0)
  print "date", "year", "month", "season", "weekday", "rain_mm", "temp_max", "temp_min", "temp_mean", "wind", "weather"
  next
}

{
  if (NF != 6) fail("6 columns expected, found " NF)
  if (split($1, date, "/") != 3) fail("not a date: " $1)
  number = day_number(date[1] + 0, date[2] + 0, date[3] + 0)
  if (NR > 2 && number != last + 1) fail("a day is missing or stands twice before " $1)
  last = number
  if ($2 < 0 || $2 > 200) fail("impossible precipitation: " $2)
  if ($3 < $4) fail("the maximum is below the minimum: " $3 " < " $4)
  if ($4 < -40 || $3 > 50) fail("impossible temperature: " $4 " to " $3)
  if ($6 !~ /^(drizzle|fog|rain|snow|sun)$/) fail("unknown weather: " $6)
  printf "%04d-%02d-%02d,%d,%d,%s,%d,%.1f,%.1f,%.1f,%.2f,%.1f,%s\n", date[1], date[2], date[3], date[1], date[2], \
    season[date[2] + 0], weekday(number), $2, $3, $4, ($3 + $4) / 2, $5, $6
}

END { if (!failed && NR < 2) fail("no days") }
