# Months of all years in, the mean of each month of the year out.

BEGIN { FS = "," }

NR > 1 {
  years[$2]++
  for (column = 4; column <= 9; column++) sum[$2, column] += $column
}

END {
  print "month,years,rain_mm,wet_days,temp_max,temp_min,temp_mean,wind"
  for (month = 1; month <= 12; month++) {
    if (!years[month]) continue
    printf "%d,%d", month, years[month]
    for (column = 4; column <= 9; column++) printf ",%.2f", sum[month, column] / years[month]
    printf "\n"
  }
}
