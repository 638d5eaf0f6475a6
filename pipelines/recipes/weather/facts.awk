# Summaries in, lines to read out. `from` says which summary a line belongs to.

function fact(name, value) { print name "," value }

BEGIN { FS = ","; print "fact,value" }

FNR == 1 { next }

from == "yearly" {
  days += $2
  rain += $3
  wet += $4
  degrees += $5 * $2
  years++
  if (years == 1 || $3 > most) { most = $3; wettest = $1 }
  if (years == 1 || $3 < least) { least = $3; driest = $1 }
}

from == "records" && $2 == 1 { date[$1] = $3; value[$1] = $4 }

from == "dry" && FNR == 2 { dry = $3 " days; " $1 " to " $2 }

from == "wet" && FNR == 2 { spell = $3 " days; " $1 " to " $2 " (" $4 " mm)" }

from == "classes" && $1 >= 10 { heavy_days += $5; heavy_rain += $6 }

from == "anomalies" && (!months++ || $4 + 0 > odd) { odd = $4 + 0; odd_month = sprintf("%d-%02d", $1, $2) }

END {
  fact("Days observed", days)
  fact("Mean temperature", sprintf("%.1f °C", degrees / days))
  fact("Rain in a mean year", sprintf("%.0f mm on %.0f wet days", rain / years, wet / years))
  fact("Wettest year", sprintf("%d (%.0f mm)", wettest, most))
  fact("Driest year", sprintf("%d (%.0f mm)", driest, least))
  fact("Warmest day", date["warmest"] " (" value["warmest"] " °C)")
  fact("Coldest night", date["coldest"] " (" value["coldest"] " °C)")
  fact("Wettest day", date["wettest"] " (" value["wettest"] " mm)")
  fact("Windiest day", date["windiest"] " (" value["windiest"] " m/s)")
  fact("Longest dry spell", dry)
  fact("Longest wet spell", spell)
  fact("Heavy rain (10 mm or more)", sprintf("%.0f%% of the wet days; %.0f%% of the rain", 100 * heavy_days, 100 * heavy_rain))
  fact("Month furthest above its normal", sprintf("%s (%+.1f °C)", odd_month, odd))
}
