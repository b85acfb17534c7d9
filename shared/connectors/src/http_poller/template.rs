//! What may be filled into headers, the query and the body: `{{cursor}}`, `{{now}}`, `{{now-24h}}`, `{{from}}` and
//! `{{to}}`. That is all: a request says what a feed is to give from where on, so there is nothing to compute or to
//! loop over, and no engine that would have to be contained.

use chrono::TimeDelta;
use halcyon_domain::clock::Timestamp;

use super::cursor::TimeFormat;

/// A text with places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Cursor,
    From,
    To,
    /// So long before the run began.
    Now(TimeDelta),
}

/// What is filled in.
#[derive(Clone, Debug)]
pub(crate) struct Values<'v> {
    /// From where on records are asked for, as the other side writes it.
    pub(crate) from: Option<&'v str>,
    /// Up to where: a backfill's end, else when the run began.
    pub(crate) to: Timestamp,
    /// When the run began.
    pub(crate) began: Timestamp,
    /// How the other side writes times.
    pub(crate) format: &'v TimeFormat,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What in it is not known.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after
                .split_once("}}")
                .ok_or_else(|| "`{{` has no `}}`".to_owned())?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(part(name.trim())?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The text; `None` if something that it needs is not there yet, as the cursor before the first record.
    pub(crate) fn fill(&self, values: &Values<'_>) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Cursor | Part::From => text.push_str(values.from?),
                Part::To => text.push_str(&values.format.write(values.to)),
                Part::Now(back) => {
                    let time = values.began.checked_sub_signed(*back).unwrap_or(values.began);
                    text.push_str(&values.format.write(time));
                }
            }
        }
        Some(text)
    }

    /// Whether it is the cursor and nothing else.
    pub(crate) fn is_cursor(&self) -> bool {
        matches!(self.0[..], [Part::Cursor | Part::From])
    }

    /// Whether it says from where on records are asked for.
    pub(crate) fn has_from(&self) -> bool {
        self.0
            .iter()
            .any(|part| matches!(part, Part::Cursor | Part::From))
    }

    /// Whether it says up to where.
    pub(crate) fn has_to(&self) -> bool {
        self.0.contains(&Part::To)
    }
}

fn part(name: &str) -> Result<Part, String> {
    let unknown = || {
        format!(
            "`{{{{{name}}}}}` is not known; there are cursor, from, to, now, and now-24h with s, m, h or d"
        )
    };
    match name {
        "cursor" => Ok(Part::Cursor),
        "from" => Ok(Part::From),
        "to" => Ok(Part::To),
        "now" => Ok(Part::Now(TimeDelta::zero())),
        _ => name
            .strip_prefix("now-")
            .and_then(span)
            .map(Part::Now)
            .ok_or_else(unknown),
    }
}

/// A span of time such as `90m`.
fn span(text: &str) -> Option<TimeDelta> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    TimeDelta::try_seconds(i64::from(number) * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in() {
        let began = chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let values = |from| Values {
            from,
            to: began,
            began,
            format: &TimeFormat::UnixS,
        };
        for (text, filled) in [
            ("plain {x}", "plain {x}"),
            ("gt {{cursor}}", "gt 17"),
            ("{{ from }}..{{to}}", "17..1700000000"),
            ("{{now-1h}}/{{now}}", "1699996400/1700000000"),
        ] {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.fill(&values(Some("17"))).as_deref(), Some(filled));
        }
        assert_eq!(Template::parse("a{{cursor}}").unwrap().fill(&values(None)), None);
        for text in [
            "{{",
            "{{x}}",
            "{{now-}}",
            "{{now-1y}}",
            "{{now--1h}}",
            "{{now-1é}}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
