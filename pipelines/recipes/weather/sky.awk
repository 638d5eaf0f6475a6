# Days in; days of each kind of weather in each month of the year out.

BEGIN { FS = "," }

NR > 1 { count[$3, $11]++; days[$3]++ }

END {
  print "month,days,sun,drizzle,rain,fog,snow"
  for (month = 1; month <= 12; month++) {
    printf "%d,%d,%d,%d,%d,%d,%d\n", month, days[month], count[month, "sun"], count[month, "drizzle"], \
      count[month, "rain"], count[month, "fog"], count[month, "snow"]
  }
}
