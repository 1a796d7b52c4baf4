use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::{super::Context, imported};
use crate::{instruments, terminal};

/// Write a questionnaire as FHIR R4: to a file, or to standard output.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite instruments export gad-7 -o gad-7.json")]
pub(crate) struct Export {
    /// Its id, or the beginning of it.
    name: String,
    /// Where to write it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let questionnaire = instruments::named(&self.name, imported(context).await?)?;
        let text = serde_json::to_string_pretty(&questionnaire)?;
        let Some(path) = self.output else {
            return context.out.result(&questionnaire, |_| text);
        };
        let name = terminal::line(&path.display().to_string());
        fs::write(&path, text + "\n").with_context(|| format!("{name} cannot be written"))?;
        let result = json!({ "id": questionnaire.id, "file": path });
        context.out.result(&result, |_| format!("written: {name}"))
    }
}
