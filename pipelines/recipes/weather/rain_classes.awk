# Wet days in, how many there are of each class and how much of all rain fell on them out.

BEGIN {
  FS = ","
  classes = split("2 5 10 20 1000", upper, " ")
}

NR > 1 {
  class = 1
  while ($6 >= upper[class]) class++
  days[class]++
  rain[class] += $6
  all_days++
  all_rain += $6
}

END {
  print "from_mm,to_mm,days,rain_mm,share_of_days,share_of_rain"
  lower = wet + 0
  for (class = 1; class <= classes; class++) {
    if (days[class]) {
      printf "%s,%s,%d,%.1f,%.3f,%.3f\n", lower, (class == classes ? "" : upper[class]), days[class], rain[class], \
        days[class] / all_days, rain[class] / all_rain
    }
    if (upper[class] > lower) lower = upper[class]
  }
}
