# Dates, for every script that counts days.

# The number of a day, counted from a fixed day long ago.
function day_number(year, month, day,    a) {
  a = int((14 - month) / 12)
  year += 4800 - a
  month += 12 * a - 3
  return day + int((153 * month + 2) / 5) + 365 * year + int(year / 4) - int(year / 100) + int(year / 400)
}

# The number of a day that is written as 2012-01-31.
function day_number_of(date,    part) {
  split(date, part, "-")
  return day_number(part[1] + 0, part[2] + 0, part[3] + 0)
}

# 0 for Sunday to 6 for Saturday.
function weekday(number) {
  return (number + 2) % 7
}

function month_name(month) {
  return substr("JanFebMarAprMayJunJulAugSepOctNovDec", 3 * month - 2, 3)
}
