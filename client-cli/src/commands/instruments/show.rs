use anyhow::Result;
use clap::Args;
use respite_protocol::instruments::{Missing, Questionnaire, Score};

use super::{super::Context, imported};
use crate::{instruments, terminal};

/// Show a questionnaire: what it asks, how it is answered, what the answers add up to.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite instruments show phq-9")]
pub(crate) struct Show {
    /// Its id, or the beginning of it.
    name: String,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let questionnaire = instruments::named(&self.name, imported(context).await?)?;
        context.out.result(&questionnaire, shown)
    }
}

fn shown(questionnaire: &Questionnaire) -> String {
    let mut lines = vec![terminal::paragraph(&questionnaire.as_text(), 0)];
    for score in &questionnaire.scores {
        lines.push(score_line(questionnaire, score));
    }
    let urgent = questionnaire
        .questions()
        .filter(|item| item.urgent.is_some());
    for question in urgent {
        let rule = question.urgent.unwrap_or_default();
        let least = rule.at_least.map(|number| format!("from {number} on"));
        let most = rule.at_most.map(|number| format!("up to {number}"));
        let range: Vec<_> = [least, most].into_iter().flatten().collect();
        let text = terminal::line(&question.text);
        lines.push(format!("Urgent {}: {text}", range.join(" or ")));
    }
    let codes = questionnaire
        .codes
        .iter()
        .filter_map(|code| code.code.as_deref());
    let codes: Vec<_> = codes.map(terminal::line).collect();
    if !codes.is_empty() {
        lines.push(format!("Codes: {}", codes.join(", ")));
    }
    lines.extend(questionnaire.copyright.as_deref().map(terminal::line));
    lines.join("\n")
}

fn score_line(questionnaire: &Questionnaire, score: &Score) -> String {
    let mut parts = Vec::new();
    if let Some((low, high)) = score.range(questionnaire) {
        parts.push(format!("{low} to {high}"));
    }
    let bands = score
        .bands
        .iter()
        .map(|band| format!("{}-{} {}", band.low, band.high, terminal::line(&band.label)));
    parts.extend(bands);
    parts.extend(
        score
            .positive_from
            .map(|from| format!("positive from {from} on")),
    );
    parts.extend(
        score
            .reliable_change
            .map(|least| format!("a change of {least} is reliable")),
    );
    if let Missing::MeanOfOthers { at_most } = score.missing {
        parts.push(format!("at most {at_most} answers may be missing"));
    }
    format!(
        "Score {}: {}",
        terminal::line(&score.name),
        parts.join(", ")
    )
}
