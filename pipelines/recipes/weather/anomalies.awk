# Normals and months in; how far each month was from its normal out.

BEGIN {
  FS = ","
  print "year,month,temp_mean,temp_anomaly,rain_mm,rain_percent"
}

FNR == 1 { file++; next }

file == 1 { rain[$1] = $3; degrees[$1] = $7; next }

{
  # A deviation that rounds to nothing is written without a sign.
  text = sprintf("%+.2f", $8 - degrees[$2])
  if (text + 0 == 0) text = "0.00"
  printf "%d,%d,%.2f,%s,%.1f,%.0f\n", $1, $2, $8, text, $4, rain[$2] ? 100 * $4 / rain[$2] : 100
}
