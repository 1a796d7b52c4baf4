use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::Result;
use clap::Args;
use respite_protocol::events::{SafetyPlan, Section};

use super::super::Context;
use crate::{
    history,
    outbox::{self, SEND_WAIT},
    rooms, safety, terminal,
};

/// Write your safety plan, or change it. It is sent, encrypted, to the room, so that your therapist
/// has it too, and kept on this device.
///
/// Without options each part is asked for; Enter keeps what stands there. An option with an empty
/// text takes a part out.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: respite safety-plan edit therapist --signs \"I stop answering my sister\" --country IE"
)]
pub(crate) struct Edit {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// How you notice that it is getting worse.
    #[arg(long, value_name = "TEXT")]
    signs: Option<String>,
    /// What you can do on your own.
    #[arg(long, value_name = "TEXT")]
    alone: Option<String>,
    /// People and places that take your mind off it.
    #[arg(long, value_name = "TEXT")]
    company: Option<String>,
    /// Whom you can ask for help.
    #[arg(long, value_name = "TEXT")]
    people: Option<String>,
    /// Professionals whom you can call.
    #[arg(long, value_name = "TEXT")]
    professionals: Option<String>,
    /// How you make your surroundings safer.
    #[arg(long, value_name = "TEXT")]
    safer: Option<String>,
    /// What you live for.
    #[arg(long, value_name = "TEXT")]
    reasons: Option<String>,
    /// Whose crisis lines to show: two letters, like IE.
    #[arg(long, value_name = "CODE")]
    country: Option<String>,
    /// Write it for the other person in the room (therapists).
    #[arg(long)]
    theirs: bool,
}

impl Edit {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let delivery = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let person = if self.theirs {
                    rooms::addressee(&room, None).await?
                } else {
                    room.own_user_id().to_owned()
                };
                let entries = history::recent(&room, history::MAX_ENTRIES).await?;
                let before = safety::newest(&room, &entries, &person).await?;
                // One's own plan goes on, in whichever room it was told.
                let kept = match self.theirs {
                    true => None,
                    false => safety::kept(session.client()).await?,
                };
                let newest = before.into_iter().chain(kept).max_by_key(|found| found.at);
                let before = newest.map_or_else(|| SafetyPlan::empty(person), |found| found.plan);
                let plan = self.changed(before)?;
                let delivery = outbox::send(&room, &plan.to_message()?, SEND_WAIT).await?;
                if !self.theirs {
                    safety::keep_own(session.client(), plan, context.now().timestamp()).await?;
                }
                Ok(delivery)
            })
            .await?;
        context.delivered(&delivery, "safety plan")
    }

    fn changed(&self, mut plan: SafetyPlan) -> Result<SafetyPlan> {
        let asks = Section::ALL
            .iter()
            .all(|section| self.given(*section).is_none())
            && self.country.is_none()
            && io::stdin().is_terminal();
        for section in Section::ALL {
            let given = match self.given(section) {
                Some(given) => Some(given.clone()),
                None if asks => asked(section, plan.part(section).as_deref())?,
                None => None,
            };
            if let Some(given) = given {
                let given = given.trim().to_owned();
                *plan.part_mut(section) = (!given.is_empty()).then_some(given);
            }
        }
        if let Some(country) = &self.country {
            let country = country.trim().to_ascii_uppercase();
            plan.country = (!country.is_empty()).then_some(country);
        }
        Ok(plan)
    }

    const fn given(&self, section: Section) -> &Option<String> {
        match section {
            Section::Signs => &self.signs,
            Section::Alone => &self.alone,
            Section::Company => &self.company,
            Section::People => &self.people,
            Section::Professionals => &self.professionals,
            Section::Safer => &self.safer,
            Section::Reasons => &self.reasons,
        }
    }
}

/// What is typed for a part; nothing if it shall stay as it is.
fn asked(section: Section, before: Option<&str>) -> Result<Option<String>> {
    let mut screen = io::stderr();
    if let Some(before) = before {
        writeln!(screen, "  now: {}", terminal::line(before))?;
    }
    write!(screen, "{}: ", section.title())?;
    screen.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}
