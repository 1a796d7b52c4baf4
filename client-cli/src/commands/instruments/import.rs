use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use respite_protocol::instruments::{Band, Decimal, Kind, Missing, Questionnaire, Score};
use serde_json::json;

use super::super::{Context, finish};
use crate::{
    instruments::{self, Rule},
    terminal,
};

/// Import a questionnaire from a FHIR file, to ask it from this device.
///
/// Import only what you may use: some instruments need a licence. Where the file does not say what
/// is added up, --sum does: all questions with a scale, or with choices that have numbers.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: respite instruments import sleep.json --sum --band 0-7:none --band 8-14:mild"
)]
pub(crate) struct Import {
    /// The file: a FHIR R4 Questionnaire, JSON.
    file: PathBuf,
    /// Another id than the file's.
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Add up the answers to all questions with a scale, or with choices that have numbers, in place of the file's own scores.
    #[arg(long)]
    sum: bool,
    /// What a range of the sum means, like 0-7:none. Once for each, from the lowest on.
    #[arg(long, value_name = "LOW-HIGH:LABEL", value_parser = instruments::band, requires = "sum")]
    band: Vec<Band>,
    /// How many unanswered questions may be taken to be like the mean of the others: none, unless
    /// the instrument's rule says so.
    #[arg(long, value_name = "N", requires = "sum")]
    missing: Option<usize>,
    /// From which sum on the screening is positive.
    #[arg(long, value_name = "N", requires = "sum")]
    positive_from: Option<Decimal>,
    /// From which change of the sum on it is more than the error of measurement.
    #[arg(long, value_name = "N", requires = "sum")]
    reliable_change: Option<Decimal>,
    /// Which answer is urgent, like 9>=1: a question's number or name.
    #[arg(long, value_name = "RULE")]
    urgent: Vec<Rule>,
    /// Replace one with the same id.
    #[arg(long)]
    replace: bool,
}

impl Import {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let questionnaire = self.questionnaire()?;
        let result = json!({
            "id": questionnaire.id, "title": questionnaire.title,
            "scores": questionnaire.scores.iter().map(|score| &score.name).collect::<Vec<_>>(),
        });
        let scored = !questionnaire.scores.is_empty();
        let id = questionnaire.id.clone();
        let session = context.open().await?;
        let imported = instruments::import(session.client(), questionnaire, self.replace).await;
        finish(session, imported).await?;
        context.out.result(&result, |_| {
            format!("imported: {id} (respite checkin ask ROOM --instrument {id})")
        })?;
        if !scored {
            context.out.note(
                "it has no score: answers are kept and shown, but nothing is added up; see --sum",
            );
        }
        Ok(())
    }

    fn questionnaire(&self) -> Result<Questionnaire> {
        let mut questionnaire = instruments::read(&self.file)?;
        if let Some(id) = &self.id {
            questionnaire.id = terminal::line(id);
        }
        if self.sum {
            questionnaire.scores = vec![self.score(&questionnaire)];
        }
        for rule in &self.urgent {
            rule.set(&mut questionnaire)?;
        }
        questionnaire.validate()?;
        Ok(questionnaire)
    }

    fn score(&self, questionnaire: &Questionnaire) -> Score {
        let counts = questionnaire.questions().filter(|item| match &item.kind {
            Kind::Choice(choices) => choices.iter().all(|choice| choice.weight.is_some()),
            Kind::Scale(_) => true,
            _ => false,
        });
        let missing = match self.missing {
            None | Some(0) => Missing::NoScore,
            Some(at_most) => Missing::MeanOfOthers { at_most },
        };
        Score {
            missing,
            bands: self.band.clone(),
            positive_from: self.positive_from,
            reliable_change: self.reliable_change,
            ..Score::sum("total", counts.map(|item| item.link_id.clone()).collect())
        }
    }
}
