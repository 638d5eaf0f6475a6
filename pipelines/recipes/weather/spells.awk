# Some of the days in, runs of days without a gap out, the longest first. Needs dates.awk.

function flush() {
  if (days > 1) printf "%s,%s,%d,%.1f\n", start, end, days, rain | "sort -t, -k3,3nr -k1,1"
  days = rain = 0
}

BEGIN {
  FS = ","
  print "start,end,days,rain_mm"
  fflush()
}

NR == 1 { next }

{
  number = day_number_of($1)
  if (number != last + 1) { flush(); start = $1 }
  last = number
  end = $1
  days++
  rain += $6
}

END { flush(); close("sort -t, -k3,3nr -k1,1") }
