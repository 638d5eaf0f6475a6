# Days in, one line for each month of each year out. Days come in order.

function flush() {
  if (days) {
    printf "%d,%d,%d,%.1f,%d,%.2f,%.2f,%.2f,%.2f\n", year, month, days, rain, wet_days, \
      high / days, low / days, mean / days, wind / days
  }
  days = rain = wet_days = high = low = mean = wind = 0
}

BEGIN {
  FS = ","
  print "year,month,days,rain_mm,wet_days,temp_max,temp_min,temp_mean,wind"
}

NR == 1 { next }

$2 != year || $3 != month { flush(); year = $2; month = $3 }

{
  days++
  rain += $6
  if ($6 >= wet) wet_days++
  high += $7
  low += $8
  mean += $9
  wind += $10
}

END { flush() }
