# Months in, years out.

function flush() {
  if (days) printf "%d,%d,%.1f,%d,%.2f,%d,%.1f\n", year, days, rain, wet_days, degrees / days, wettest, most
  days = rain = wet_days = degrees = 0
  most = -1
}

BEGIN {
  FS = ","
  print "year,days,rain_mm,wet_days,temp_mean,wettest_month,wettest_mm"
}

NR == 1 { next }

$1 != year { flush(); year = $1 }

{
  days += $3
  rain += $4
  wet_days += $5
  degrees += $8 * $3
  if ($4 > most) { most = $4; wettest = $2 }
}

END { flush() }
