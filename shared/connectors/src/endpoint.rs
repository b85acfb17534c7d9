//! Servers as connections list them: `host`, `host:port`, `[2001:db8::1]:port`.

use std::fmt;

use halcyon_domain::error::InputError;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    /// A name or an address, the latter without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

impl Endpoint {
    /// Reads an endpoint; `default_port` is for those that give none.
    pub(crate) fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                let port = match rest {
                    "" => None,
                    rest => Some(rest.strip_prefix(':')?),
                };
                (host, port)
            }
            None => match text.split_once(':') {
                // An IPv6 address needs brackets beside a port, and has none here.
                Some((_, rest)) if rest.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None => default_port,
        };
        let host = (!host.is_empty()).then(|| host.to_owned())?;
        Some(Self { host, port })
    }

    /// Reads a list; what does not read is said at its place below `pointer`.
    pub(crate) fn parse_all(
        texts: &[String],
        default_port: u16,
        pointer: &str,
    ) -> Result<Vec<Self>, Vec<InputError>> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (place, text) in texts.iter().enumerate() {
            match Self::parse(text, default_port) {
                Some(endpoint) => good.push(endpoint),
                None => {
                    let detail = "the value is not a host, or a host and a port";
                    bad.push(InputError::new(format!("{pointer}/{place}"), "format", detail));
                }
            }
        }
        if bad.is_empty() { Ok(good) } else { Err(bad) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_people_write_them() {
        for (text, host, port) in [
            ("a.example", "a.example", 9),
            ("a.example:4222", "a.example", 4222),
            ("192.0.2.1:1", "192.0.2.1", 1),
            ("[2001:db8::1]:65535", "2001:db8::1", 65535),
            ("[2001:db8::1]", "2001:db8::1", 9),
            ("2001:db8::1", "2001:db8::1", 9),
        ] {
            let read = Endpoint::parse(text, 9).unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port), "{text}");
            assert_eq!(Endpoint::parse(&read.to_string(), 1), Some(read));
        }
        for text in ["", ":1", "a:", "a:0", "a:65536", "a:b", "[::1", "[::1]x", "[]:1"] {
            assert_eq!(Endpoint::parse(text, 9), None, "{text}");
        }
    }
}
