//! What stands behind the `?` of a request, as lenient as clients need it: `True`, repeated names, empty values.

use crate::base::text::parse_time;
use crate::server::error::ApiError;

/// The pairs of a query or of a form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self { pairs: form_urlencoded::parse(text.as_bytes()).into_owned().collect() }
    }

    /// The value of a name, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The same without a name.
    pub(crate) fn without(&self, name: &str) -> Self {
        Self { pairs: self.pairs.iter().filter(|(key, _)| key != name).cloned().collect() }
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.pairs.iter().filter(move |(key, value)| key == name && !value.is_empty());
        named.map(|(_, value)| value.as_str())
    }

    /// A truth value, in whichever letters.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(Some(true)),
            "false" | "0" | "no" => Ok(Some(false)),
            _ => Err(ApiError::wrong(format!("{name}={text}: write true or false"))),
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| ApiError::wrong(format!("{name}={text}: write a whole number")))
    }

    /// A point in time: milliseconds since 1970, or as on the command line, where the local zone counts too.
    pub(crate) fn time(&self, name: &str) -> Result<Option<jiff::Timestamp>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let time = match text.parse::<i64>() {
            Ok(millis) => jiff::Timestamp::from_millisecond(millis).ok(),
            Err(_) => parse_time(text, &jiff::tz::TimeZone::system(), crate::clock::now()),
        };
        let help =
            "write milliseconds since 1970, 2026-11-01, 2026-11-01T02:00, 2026-11-01T02:00:00Z, or an age as 12h";
        time.map(Some).ok_or_else(|| ApiError::wrong(format!("{name}={text}: this is no point in time; {help}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_write_values_in_many_ways() {
        let query = Query::parse("allUsers=True&foreign=False&limit=50&tags=a&tags=b&activity=&q=a%7Cb+c");
        assert_eq!(query.flag("allUsers").unwrap(), Some(true));
        assert_eq!(query.flag("foreign").unwrap(), Some(false));
        assert_eq!(query.flag("other").unwrap(), None);
        assert_eq!(query.number("limit").unwrap(), Some(50));
        assert_eq!(query.all("tags").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.get("activity"), None);
        assert_eq!(query.get("q"), Some("a|b c"));
        for wrong in ["limit=-1", "limit=x", "limit=99999999999999999999999"] {
            assert!(Query::parse(wrong).number("limit").is_err(), "{wrong}");
        }
        assert!(Query::parse("f=maybe").flag("f").is_err());
    }

    #[test]
    fn times_are_read() {
        for text in ["since=1793491200000", "since=2026-11-01T00:00:00Z", "since=2026-11-01T02:00:00%2B02:00"] {
            let time = Query::parse(text).time("since").unwrap().unwrap();
            assert_eq!(time.as_millisecond(), 1_793_491_200_000, "{text}");
        }
        for wrong in ["tomorrow", "2026-11-29T23:59:59 02:00", "2026-11-29Tnoon", "2026-11-29T25:00"] {
            assert!(Query::parse(&format!("since={wrong}")).time("since").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_local_and_keeps_its_time_of_day() {
        for (text, whole) in [
            ("2026-11-29T23:59:59", "2026-11-29T23:59:59"),
            ("2026-11-29T10:55", "2026-11-29T10:55:00"),
            ("2026-11-29", "2026-11-29T00:00:00"),
        ] {
            let time = Query::parse(&format!("until={text}")).time("until").unwrap().unwrap();
            let local = jiff::tz::TimeZone::system().to_datetime(time);
            assert_eq!(local.to_string(), whole, "{text}");
        }
    }
}
