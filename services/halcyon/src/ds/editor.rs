//! Changes a datasource as a document in the user's editor.

use std::{env, fs, process::Command, sync::Arc};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    client::{Api, Error},
    commands::export,
    keys::{private_folder, replace_private},
    manifest::{Formats, load},
    output::{OutputArgs, remark, say},
    plan::{Options, Prune, Server, carry_out_all, plan},
};

/// Opens the editor, and applies what comes out of it. A document that does not fit stays where it can be found.
pub(super) async fn edit(api: &Api, datasource: Value, output: OutputArgs) -> Result<()> {
    let server = Server::read(api).await?;
    let key = (datasource["env"].clone(), datasource["name"].clone());
    let before = export::document(api, &server, datasource).await?.text;
    let folder = env::temp_dir().join(format!("halcyon-edit-{}", uuid::Uuid::new_v4().simple()));
    private_folder(&folder)?;
    let file = folder.join("datasource.yaml");
    replace_private(&file, before.trim_end())?;
    open(&file)?;
    let after = fs::read_to_string(&file)?;
    if after.trim_end() == before.trim_end() {
        fs::remove_dir_all(&folder)?;
        return say("nothing was changed");
    }
    let place: Arc<str> = Arc::from(file.display().to_string());
    let loaded = load(&[file], Formats::Documents)?;
    for finding in &loaded.findings {
        remark(&finding.to_string());
    }
    let [document] = loaded.documents.as_slice() else {
        return Err(Error::Usage(format!("{place}: one document was expected")).into());
    };
    if (&key.0, &key.1)
        != (
            &Value::from(document.env.as_str()),
            &Value::from(document.name.as_str()),
        )
    {
        let text = format!("{place}: name and environment change by `halcyon ds edit --name` and `--to-env`");
        return Err(Error::Usage(text).into());
    }
    let options = Options::default();
    let plan = plan(api, loaded.documents, &options, &Prune::default()).await?;
    let outcomes = carry_out_all(api, plan, &options).await?;
    outcomes.show(output, &[])?;
    outcomes.exit(&[])?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn open(file: &std::path::Path) -> Result<()> {
    let set = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = set("VISUAL")
        .or_else(|| set("EDITOR"))
        .unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().context("EDITOR names no program")?;
    let status = Command::new(program).args(words).arg(file).status();
    let status = status.with_context(|| program.to_owned())?;
    ensure!(status.success(), "{program} failed: nothing was done");
    Ok(())
}
