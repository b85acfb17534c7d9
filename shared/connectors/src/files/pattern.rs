//! Patterns for the names of files: `*` and `?` stay within a folder, `**` does not, `{a,b}` is either.

use regex::Regex;

/// A pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Self, &'static str> {
        let mut regex = String::from("^(?s:");
        let mut rest = text;
        let mut open = false;
        while let Some(first) = rest.chars().next() {
            let taken = if let Some(after) = rest.strip_prefix("**/") {
                regex.push_str("(?:.*/)?");
                rest.len() - after.len()
            } else if rest.starts_with("**") {
                regex.push_str(".*");
                2
            } else {
                match (first, open) {
                    ('*', _) => regex.push_str("[^/]*"),
                    ('?', _) => regex.push_str("[^/]"),
                    ('{', false) => {
                        regex.push_str("(?:");
                        open = true;
                    }
                    ('{', true) => return Err("braces cannot be in braces"),
                    (',', true) => regex.push('|'),
                    ('}', true) => {
                        regex.push(')');
                        open = false;
                    }
                    (other, _) => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
                }
                first.len_utf8()
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        if open {
            return Err("a brace is not closed");
        }
        regex.push_str(")$");
        Regex::new(&regex)
            .map(Self)
            .map_err(|_| "the pattern is too long")
    }

    /// Whether a name fits.
    pub(crate) fn fits(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_keep_to_their_folder_and_two_stars_do_not() {
        for (pattern, fits, does_not) in [
            (
                "*.json",
                vec!["a.json", ".json"],
                vec!["a/b.json", "a.jsonl", "ajson"],
            ),
            ("**/*.json", vec!["a.json", "a/b/c.json"], vec!["a/b.csv"]),
            ("logs/**", vec!["logs/a", "logs/a/b"], vec!["log/a", "x/logs/a"]),
            (
                "a?.{csv,tsv}",
                vec!["ab.csv", "aé.tsv"],
                vec!["a/.csv", "abc.csv", "ab.txt"],
            ),
            ("**/x/*", vec!["x/1", "a/x/1"], vec!["x/1/2", "ax/1"]),
            ("a+(b).[c]", vec!["a+(b).[c]"], vec!["aab.c"]),
            ("a,b}", vec!["a,b}"], vec!["a"]),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            for name in fits {
                assert!(compiled.fits(name), "{pattern} {name}");
            }
            for name in does_not {
                assert!(!compiled.fits(name), "{pattern} {name}");
            }
        }
        assert!(Pattern::new("{a").is_err() && Pattern::new("{a,{b}}").is_err());
    }
}
