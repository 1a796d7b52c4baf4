use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use jiff::Zoned;
use serde_json::json;

use super::super::Context;
use crate::{
    checkins, documents, history, rooms, terminal,
    trend::{self, Series, Trend},
};

/// Show how answers change over time: scores with their bands, the change since the last and the
/// first, and how many check-ins were answered, late or missed.
///
/// All of it is reckoned on this device. As a client you see your own answers, as a therapist those of
/// the other person in the room.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: respite checkin trend heron --instrument phq-9 --svg phq-9.svg --csv phq-9.csv"
)]
pub(crate) struct Trends {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// Whose answers, if more than one other person is in the room.
    #[arg(long, value_name = "USER")]
    of: Option<String>,
    /// Your own answers.
    #[arg(long, conflicts_with = "of")]
    own: bool,
    /// Only this questionnaire, or the question that begins so.
    #[arg(long, value_name = "NAME")]
    instrument: Option<String>,
    /// Only this score, such as total.
    #[arg(long, value_name = "NAME")]
    score: Option<String>,
    /// Write a picture, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write a picture, as PNG.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Write all scores as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the answers to questionnaires, and their scores, as a FHIR R4 bundle.
    #[arg(long, value_name = "FILE")]
    fhir: Option<PathBuf>,
}

impl Trends {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let now = context.now();
        let (mut trends, name) = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let agenda = checkins::agenda(&history::recent(&room, history::MAX_ENTRIES).await?);
                let own = room.own_user_id();
                let asks = agenda.iter().any(|asked| asked.sender == own);
                let person = if self.own || (!asks && self.of.is_none()) {
                    own.to_owned()
                } else {
                    rooms::addressee(&room, self.of.as_deref()).await?
                };
                let name = rooms::pseudonym(&room, &person).await?;
                Ok((trend::trends(&agenda, &person, now.timestamp()), name))
            })
            .await?;
        trends.retain(|trend| self.wants(trend));
        if let Some(wanted) = &self.score {
            for trend in &mut trends {
                trend
                    .series
                    .retain(|series| series.name.eq_ignore_ascii_case(wanted));
            }
        }
        self.write(&trends, &name, &now, context)?;
        context
            .out
            .list(&trends, "There are no check-ins to follow here.", |trend| {
                shown(trend, &now)
            })
    }

    fn wants(&self, trend: &Trend) -> bool {
        let Some(wanted) = &self.instrument else {
            return true;
        };
        let wanted = wanted.to_lowercase();
        let id = trend.questionnaire.as_ref().map(|of| of.id.to_lowercase());
        id.as_deref() == Some(wanted.as_str()) || trend.title.to_lowercase().starts_with(&wanted)
    }

    fn write(&self, trends: &[Trend], name: &str, now: &Zoned, context: &Context) -> Result<()> {
        if let Some(path) = &self.csv {
            write(path, trend::csv(trends, name).as_bytes(), context)?;
        }
        if let Some(path) = &self.fhir {
            let bundle = serde_json::to_string_pretty(&trend::bundle(trends, name))?;
            write(path, bundle.as_bytes(), context)?;
        }
        if self.svg.is_none() && self.png.is_none() {
            return Ok(());
        }
        let drawn =
            |trend: &Trend, series: &Series| format!("{name}: {}, {}", trend.title, series.name);
        let with_points: Vec<_> = trends
            .iter()
            .flat_map(|trend| {
                trend
                    .series
                    .iter()
                    .map(move |series| (drawn(trend, series), series))
            })
            .filter(|(_, series)| !series.points.is_empty())
            .collect();
        let (title, series) = match with_points.as_slice() {
            [(title, series)] => (title, *series),
            [] => bail!("there is nothing to draw yet"),
            many => {
                let titles: Vec<_> = many
                    .iter()
                    .map(|(title, _)| terminal::line(title))
                    .collect();
                bail!(
                    "a picture shows one score; choose with --instrument and --score: {}",
                    titles.join("; ")
                )
            }
        };
        if let Some(path) = &self.svg {
            write(
                path,
                trend::svg(title, series, &[], now).as_bytes(),
                context,
            )?;
        }
        if let Some(path) = &self.png {
            write(path, &trend::png(title, series, &[], now)?, context)?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8], context: &Context) -> Result<()> {
    let name = terminal::line(&path.display().to_string());
    // What was drawn before is drawn anew.
    documents::write(path, bytes, true)?;
    if context.out.is_json() {
        context
            .out
            .result(&json!({ "type": "file", "file": path }), |_| String::new())
    } else {
        context.out.note(&format!("written: {name}"));
        Ok(())
    }
}

fn shown(trend: &Trend, now: &Zoned) -> String {
    let mut lines = vec![format!(
        "{} ({})",
        terminal::line(&trend.title),
        trend.counts.shown()
    )];
    for series in &trend.series {
        let Some(last) = series.points.last() else {
            continue;
        };
        let band = last
            .band
            .as_deref()
            .map(|band| format!(" ({})", terminal::line(band)));
        let name = terminal::line(&series.name);
        lines.push(format!(
            "\n  {name}: {}{}",
            last.value,
            band.unwrap_or_default()
        ));
        let since = [
            ("the last", series.since_last),
            ("the first", series.since_first),
        ];
        for (what, change) in since {
            lines.extend(change.map(|change| format!("  since {what}: {}", change.shown())));
        }
        lines.push(trend::plot(series, now));
    }
    lines.join("\n")
}
