//! Files and folders of documents.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};

use super::{Document, Finding, old};
use crate::{
    client::Error,
    yaml::{self, Fault, Place},
};

/// How deep folders may lie in each other.
const MAX_DEPTH: usize = 16;

/// The largest file that is read at all, in bytes; the reader has a limit of its own for what it parses.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Which formats are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formats {
    /// Documents only.
    Documents,
    /// Documents, and the old registry's file.
    All,
}

/// What the files hold.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The documents that could be read.
    pub(crate) documents: Vec<Document>,
    /// What is wrong with the others.
    pub(crate) findings: Vec<Finding>,
}

/// Reads files, and all `.yaml` and `.yml` files of folders; `-` is standard input.
///
/// # Errors
/// A file cannot be read. What is wrong inside of it is among the findings.
pub(crate) fn load(paths: &[PathBuf], formats: Formats) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    for path in paths {
        let mut files = Vec::new();
        collect(path, 0, &mut files)?;
        files.sort();
        for file in files {
            let text = read(&file)?;
            loaded.add(&Arc::from(file.display().to_string()), &text, formats);
        }
    }
    loaded.refuse_twins();
    Ok(loaded)
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let place = || path.display().to_string();
    if path == Path::new("-") || !fs::metadata(path).with_context(place)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Err(Error::Usage(format!("{}: folders lie too deep in each other", place())).into());
    }
    for entry in fs::read_dir(path).with_context(place)? {
        let entry = entry.with_context(place)?.path();
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_yaml = entry
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if !name.starts_with('.') && (is_yaml || entry.is_dir()) {
            collect(&entry, depth + 1, files)?;
        }
    }
    Ok(())
}

/// Reads a file, or standard input.
fn read(file: &Path) -> Result<String> {
    let place = || file.display().to_string();
    let mut text = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES).read_to_end(&mut text)
    } else {
        let opened = fs::File::open(file).with_context(place)?;
        opened.take(MAX_BYTES).read_to_end(&mut text)
    }
    .with_context(place)?;
    String::from_utf8(text).with_context(place)
}

impl Loaded {
    /// Adds the documents of a file.
    pub(crate) fn add(&mut self, file: &Arc<str>, text: &str, formats: Formats) {
        let nodes = match yaml::read(text) {
            Ok(nodes) => nodes,
            Err(fault) => return self.findings.push(Finding::new(file, fault)),
        };
        for node in nodes {
            if old::is_old(&node) {
                if formats == Formats::Documents {
                    let message = "this is the old registry's file: `halcyon import` reads it";
                    self.findings
                        .push(Finding::new(file, Fault::new(node.place, message)));
                    continue;
                }
                let (documents, findings) = old::read(file, &node);
                self.documents.extend(documents);
                self.findings.extend(findings);
            } else if node.get("kind").is_none() {
                self.findings.push(old::unknown(file, node.place));
            } else {
                match Document::read(file, &node) {
                    Ok(document) => self.documents.push(document),
                    Err(findings) => self.findings.extend(findings),
                }
            }
        }
    }

    /// Two documents of one name would undo each other in turns: neither is kept.
    fn refuse_twins(&mut self) {
        let mut places: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        let key = |document: &Document| (document.env.clone(), document.name.clone());
        for document in &self.documents {
            let origin = &document.origin;
            let place = format!("{}:{}", origin.file, place_of_name(document));
            places.entry(key(document)).or_default().push(place);
        }
        for document in &self.documents {
            let all = &places[&key(document)];
            if all.len() > 1 {
                let here = format!("{}:{}", document.origin.file, place_of_name(document));
                let others: Vec<_> = all.iter().filter(|place| **place != here).cloned().collect();
                let message = format!(
                    "`{}` in `{}` stands at {}, too",
                    document.name,
                    document.env,
                    others.join(" and ")
                );
                let fault = Fault::new(place_of_name(document), message);
                self.findings.push(Finding::new(&document.origin.file, fault));
            }
        }
        self.documents
            .retain(|document| places[&key(document)].len() == 1);
    }
}

fn place_of_name(document: &Document) -> Place {
    document.origin.finding("/name", "").place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(files: &[(&str, &str)]) -> Loaded {
        let mut loaded = Loaded::default();
        for (name, text) in files {
            loaded.add(&Arc::from(*name), text, Formats::All);
        }
        loaded.refuse_twins();
        loaded
    }

    fn said(loaded: &Loaded) -> Vec<String> {
        loaded.findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_documents_of_one_name_name_each_other() {
        let one = "kind: Datasource\nname: edr\ntype: http_webhook\n";
        let loaded = loaded(&[
            ("a.yaml", one),
            ("b.yaml", &format!("---\n{one}---\n{}", one.replace("edr", "x"))),
        ]);
        assert_eq!(
            said(&loaded),
            [
                "a.yaml:2:7: `edr` in `production` stands at b.yaml:3:7, too",
                "b.yaml:3:7: `edr` in `production` stands at a.yaml:2:7, too",
            ]
        );
        assert_eq!(loaded.documents.len(), 1);
    }

    #[test]
    fn a_file_of_no_format_is_told_so_and_the_others_go_on() {
        let good = "kind: Datasource\nname: edr\ntype: http_webhook\n";
        let loaded = loaded(&[("a.yaml", "name: edr\n"), ("b.yaml", "a: [1"), ("c.yaml", good)]);
        assert_eq!(loaded.documents.len(), 1);
        assert_eq!(
            said(&loaded)[0],
            "a.yaml:1:1: `kind: Datasource` is missing, and there are no `datasources` as in the old registry's file"
        );
        assert!(said(&loaded)[1].starts_with("b.yaml:"), "{:?}", said(&loaded));
    }

    #[test]
    fn folders_are_read_in_order_and_hidden_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        for name in ["b/two.yml", "a.yaml", ".git/x.yaml", "notes.txt"] {
            write(name, &format!("kind: Datasource\nname: {name}\ntype: t\n"));
        }
        let loaded = load(&[folder.path().to_owned()], Formats::Documents).unwrap();
        let names: Vec<_> = loaded
            .documents
            .iter()
            .map(|document| document.name.as_str())
            .collect();
        assert_eq!(names, ["a.yaml", "b/two.yml"]);
        assert!(load(&[folder.path().join("none")], Formats::All).is_err());
    }
}
