use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::super::{Context, finish};
use crate::{instruments, terminal};

/// Remove a questionnaire that was imported. What was asked with it stays as it is.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite instruments remove isi")]
pub(crate) struct Remove {
    /// Its whole id.
    id: String,
}

impl Remove {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let session = context.open().await?;
        let removed = instruments::remove(session.client(), &self.id).await;
        finish(session, removed).await?;
        let result = json!({ "id": self.id, "status": "removed" });
        context.out.result(&result, |_| {
            format!("removed: {}", terminal::line(&self.id))
        })
    }
}
