use anyhow::Result;
use clap::Args;
use respite_protocol::instruments::bundled;
use serde::Serialize;

use super::{super::Context, imported};
use crate::terminal;

/// List the questionnaires that you can ask: bundled and imported ones.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite instruments list")]
pub(crate) struct List {}

#[derive(Serialize)]
struct Line {
    id: String,
    title: String,
    questions: usize,
    scores: Vec<String>,
    bundled: bool,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let imported = imported(context).await?;
        let bundled = bundled::all().into_iter().map(|one| (one, true));
        let all = bundled.chain(imported.into_iter().map(|one| (one, false)));
        let lines: Vec<_> = all
            .map(|(questionnaire, bundled)| Line {
                questions: questionnaire.questions().count(),
                scores: questionnaire
                    .scores
                    .iter()
                    .map(|score| score.name.clone())
                    .collect(),
                id: questionnaire.id,
                title: questionnaire.title,
                bundled,
            })
            .collect();
        context.out.list(&lines, "There are none.", |line| {
            let questions = match line.questions {
                1 => "1 question".to_owned(),
                many => format!("{many} questions"),
            };
            let whence = if line.bundled { "" } else { ", imported" };
            let title = terminal::line(&line.title);
            format!("{:<16}{title} ({questions}{whence})", line.id)
        })
    }
}
