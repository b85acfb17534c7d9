//! The string that a vendor signs, as a template: `{timestamp}.{body}`.

/// A piece of a signing string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Timestamp,
    Id,
    Body,
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SigningString(Vec<Part>);

impl SigningString {
    /// Reads a template; the error says what is wrong with it.
    pub(crate) fn parse(template: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('{') {
                let (name, after) = after.split_once('}').ok_or("a `{` is not closed")?;
                parts.push(match name {
                    "timestamp" => Part::Timestamp,
                    "id" => Part::Id,
                    "body" => Part::Body,
                    _ => return Err(format!("`{{{name}}}` is none of {{timestamp}}, {{id}}, {{body}}")),
                });
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                let (literal, after) = rest.split_at(end);
                parts.push(Part::Literal(literal.to_owned()));
                rest = after;
            }
        }
        if parts.iter().filter(|part| **part == Part::Body).count() != 1 {
            return Err("`{body}` has to be there once".to_owned());
        }
        Ok(Self(parts))
    }

    /// Whether the template has `part`.
    pub(crate) fn has(&self, part: &Part) -> bool {
        self.0.contains(part)
    }

    /// The bytes to sign, piece by piece: the body is not copied.
    pub(crate) fn pieces<'a>(
        &'a self,
        timestamp: &'a str,
        id: &'a str,
        body: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.0.iter().map(move |part| match part {
            Part::Literal(text) => text.as_bytes(),
            Part::Timestamp => timestamp.as_bytes(),
            Part::Id => id.as_bytes(),
            Part::Body => body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_in_order() {
        let template = SigningString::parse("v0:{timestamp}:{id}.{body}").unwrap();
        let signed: Vec<u8> = template.pieces("12", "a", b"{}").flatten().copied().collect();
        assert_eq!(signed, b"v0:12:a.{}");
    }

    #[test]
    fn a_wrong_template_is_refused() {
        for template in ["", "{timestamp}", "{body}{body}", "{bod}", "{body", "{body}{"] {
            assert!(SigningString::parse(template).is_err(), "{template}");
        }
    }
}
